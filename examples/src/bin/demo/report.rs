//! The report: one HTML file that holds its data, its style and its drawing.
//!
//! The page's script draws whatever record it is given, so that the same page can show a live one.

use crate::record::Record;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// The report of a run.
///
/// # Errors
///
/// Never with a record: its data has a form in JSON.
pub(crate) fn page(record: &Record) -> serde_json::Result<String> {
    let data = serde_json::to_string(record)?;
    // Nothing in the data can end the element that holds it.
    let data = data.replace('<', "\\u003c");
    let page = PAGE.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    Ok(page.replace("/*data*/", &data))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::{What, tests::run};

    #[test]
    fn the_page_holds_its_data_and_needs_nothing_else() {
        let mut record = Record::new(run(), ["orders-1"]);
        record.event(Duration::ZERO, What::Caller, "</script><b>".into());
        let page = page(&record).unwrap();
        assert!(!page.contains("</script><b>"));
        let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["events"][0]["text"], "</script><b>");
        for outside in ["src=", "href=\"http", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(!page.contains("/*data*/") && !page.contains("/*script*/"));
    }
}
