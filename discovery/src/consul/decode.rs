//! From the answer of `/v1/health/service/…` to endpoints.
//!
//! Fields that are not used are skipped without being built, and text without escapes is borrowed.
//! An answer in which everything has the type that it should have is read in one pass. Only when
//! something has not, the answer is taken apart into its instances, and those that make no sense
//! are left out.

use std::{borrow::Cow, collections::HashSet, fmt};

use foldhash::fast::RandomState;
use seawall_core::Endpoint;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{WeightFrom, entry::Entry, words::Words};

/// The instances of a service that can be called, and those that make no sense.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Instances {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) skipped: Vec<Skipped>,
}

/// An instance that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    /// What identifies it, or its place in the answer.
    pub(super) id: String,
    pub(super) why: String,
}

/// Reads an answer.
///
/// # Errors
///
/// When it is no list at all, or cut short.
pub(super) fn instances(body: &[u8], weights: &WeightFrom) -> Result<Instances, serde_json::Error> {
    // Once for all of it, rather than for each text in it.
    let body = str::from_utf8(body).map_err(serde::de::Error::custom)?;
    let mut reader = Reader::new(weights);
    let mut from = serde_json::Deserializer::from_str(body);
    if from.deserialize_option(&mut reader).and_then(|()| from.end()).is_ok() {
        return Ok(reader.finish());
    }
    let mut reader = Reader::new(weights);
    let raw = serde_json::from_str::<Option<Vec<&RawValue>>>(body)?;
    for (place, raw) in raw.unwrap_or_default().into_iter().enumerate() {
        match serde_json::from_str::<Entry<'_>>(raw.get()) {
            Ok(entry) => reader.take(entry),
            Err(error) => {
                let id = format!("number {place} of the answer");
                reader.read.skipped.push(Skipped { id, why: error.to_string() });
            }
        }
    }
    Ok(reader.finish())
}

/// Takes the entries of an answer one by one, so that they are never all there.
struct Reader<'w, 'a> {
    weights: &'w WeightFrom,
    words: Words,
    read: Instances,
    /// The node of each endpoint.
    nodes: Vec<Cow<'a, str>>,
}

impl<'w, 'a> Reader<'w, 'a> {
    fn new(weights: &'w WeightFrom) -> Self {
        let (words, read) = (Words::default(), Instances::default());
        Self { weights, words, read, nodes: Vec::new() }
    }

    fn take(&mut self, entry: Entry<'a>) {
        match entry.endpoint(self.weights, &mut self.words) {
            Ok(Some(endpoint)) => {
                self.read.endpoints.push(endpoint);
                self.nodes.push(entry.into_node());
            }
            Ok(None) => {}
            Err(why) => {
                let id = entry.id().to_owned();
                self.read.skipped.push(Skipped { id, why });
            }
        }
    }

    fn finish(mut self) -> Instances {
        self.read.tell_apart(&self.nodes);
        self.read
    }
}

/// Consul writes an empty list as `null` in some versions.
impl<'a> Visitor<'a> for &mut Reader<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of instances")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'a>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            self.take(entry);
        }
        Ok(())
    }
}

impl Instances {
    /// Ids are unique on a node only; where two nodes use the same, the node is added.
    fn tell_apart(&mut self, nodes: &[Cow<'_, str>]) {
        let mut seen =
            HashSet::with_capacity_and_hasher(self.endpoints.len(), RandomState::default());
        let twice = self.endpoints.iter().map(Endpoint::id).filter(|id| !seen.insert(*id));
        let twice: HashSet<_> = twice.cloned().collect();
        if twice.is_empty() {
            return;
        }
        for (endpoint, node) in self.endpoints.iter_mut().zip(nodes) {
            if twice.contains(endpoint.id()) {
                let id = format!("{}@{node}", endpoint.id());
                *endpoint = endpoint.clone().with_id(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use seawall_core::Health;
    use serde_json::{Value, json};

    use super::*;

    fn entry(id: &str) -> Value {
        json!({
            "Node": {"ID": "x", "Node": "n1", "Address": "10.0.0.1", "Meta": null},
            "Service": {
                "ID": id, "Service": "orders", "Tags": ["a", "b\n"], "Address": "",
                "Port": 80, "Meta": {"zone": "eu", "k": null}, "Weights": {"Passing": 7, "Warning": 2},
                "Proxy": {"MeshGateway": {}}, "CreateIndex": 5
            },
            "Checks": [{"Node": "n1", "CheckID": "service:x", "Status": "passing", "Output": ""}]
        })
    }

    /// As every test but one reads.
    fn instances(body: &[u8]) -> Result<Instances, serde_json::Error> {
        super::instances(body, &WeightFrom::Weights)
    }

    fn read(entries: &[Value]) -> Instances {
        instances(&serde_json::to_vec(entries).unwrap()).unwrap()
    }

    fn changed(path: &str, value: Value) -> Value {
        let mut entry = entry("a");
        *entry.pointer_mut(path).unwrap() = value;
        entry
    }

    #[test]
    fn an_instance_brings_all_that_an_endpoint_has() {
        let read = read(&[entry("a")]);
        let expected = Endpoint::new("a", "10.0.0.1:80".parse().unwrap())
            .with_weight(7)
            .with_tags(["a", "b\n"])
            .with_zone("eu")
            .with_metadata("zone", "eu")
            .with_metadata("k", "");
        assert_eq!(read, Instances { endpoints: vec![expected], skipped: vec![] });
    }

    #[test]
    fn an_address_of_its_own_comes_before_that_of_the_node() {
        let read = read(&[changed("/Service/Address", json!("2001:db8::1"))]);
        assert_eq!(read.endpoints[0].address().to_string(), "[2001:db8::1]:80");
    }

    #[test]
    fn health_is_that_of_the_worst_check() {
        let check = |id: &str, status: &str| json!({"CheckID": id, "Status": status});
        let of = |checks: &[Value]| {
            let read = read(&[changed("/Checks", json!(checks))]);
            read.endpoints.first().map(|endpoint| (endpoint.health(), endpoint.weight()))
        };
        let (passing, warning) = (check("a", "passing"), check("b", "warning"));
        assert_eq!(of(&[]), Some((Health::Passing, 7)));
        assert_eq!(of(&[warning.clone(), passing.clone()]), Some((Health::Warning, 2)));
        assert_eq!(of(&[passing.clone(), check("c", "critical"), warning]), None);
        assert_eq!(of(&[passing.clone(), check("_node_maintenance", "critical")]), None);
        assert_eq!(of(&[passing, check("_service_maintenance:a", "critical")]), None);
    }

    #[test]
    fn one_bad_instance_is_skipped_and_named_and_the_rest_are_used() {
        for (path, value, why) in [
            ("/Service/Port", json!(70_000), "port is 70000"),
            ("/Service/Port", json!(0), "port from 1"),
            ("/Service/Port", json!(-1), "port is -1"),
            ("/Service/Port", json!(1e30), "invalid type"),
            ("/Service/Port", json!("80"), "invalid type"),
            ("/Service/ID", json!(""), "no id"),
            ("/Service/ID", json!(null), "invalid type"),
            ("/Service/Address", json!("a b"), "no address"),
            ("/Node/Address", json!(null), "neither it nor its node"),
            ("/Service/Weights/Passing", json!(65_536), "weight is 65536"),
            ("/Service/Weights/Passing", json!(-1), "weight is -1"),
            ("/Checks/0/Status", json!("purple"), "\"purple\""),
            ("/Service", json!(null), "invalid type"),
            ("", json!(null), "invalid type"),
            ("", json!([]), "invalid length"),
        ] {
            let read = read(&[entry("good"), changed(path, value.clone()), entry("fine")]);
            let ids: Vec<_> = read.endpoints.iter().map(|e| e.id().as_str()).collect();
            assert_eq!(ids, ["good", "fine"], "{path} {value}");
            let [skipped] = &read.skipped[..] else { panic!("{path} {value}: {read:?}") };
            assert!(skipped.why.contains(why), "{path} {value}: {skipped:?}");
        }
    }

    #[test]
    fn lists_may_be_null_and_fields_may_be_unknown_or_missing() {
        for path in ["/Checks", "/Service/Tags", "/Service/Meta", "/Service/Weights"] {
            assert_eq!(read(&[changed(path, json!(null))]).endpoints.len(), 1, "{path}");
        }
        let bare = json!({"Node": {"Address": "h"}, "Service": {"ID": "a", "Port": 1}, "New": [1]});
        assert_eq!(read(&[bare]).endpoints[0].weight(), 1);
        assert_eq!(instances(b"null").unwrap(), Instances::default());
        assert_eq!(instances(b" [] ").unwrap(), Instances::default());
    }

    #[test]
    fn a_weight_may_stand_in_a_tag_or_in_the_metadata() {
        let weight = |entry: Value, from| {
            let body = serde_json::to_vec(&[entry]).unwrap();
            let read = super::instances(&body, &from).unwrap();
            read.endpoints.first().map(Endpoint::weight)
        };
        let tag = |tag: &str| changed("/Service/Tags/0", json!(tag));
        let meta = |value: Value| changed("/Service/Meta/k", value);
        let (by_tag, by_meta) = (WeightFrom::Tag("w".into()), WeightFrom::Metadata("k".into()));
        assert_eq!(weight(tag("w=30"), by_tag.clone()), Some(30));
        assert_eq!(weight(tag("w=0"), by_tag.clone()), Some(0));
        assert_eq!(weight(tag("ww=30"), by_tag.clone()), Some(7), "another tag");
        assert_eq!(weight(tag("w=many"), by_tag), None);
        assert_eq!(weight(meta(json!("30")), by_meta.clone()), Some(30));
        assert_eq!(weight(meta(json!(null)), by_meta.clone()), Some(7));
        assert_eq!(weight(meta(json!("-1")), by_meta), None);
    }

    #[test]
    fn an_id_that_two_nodes_use_gets_the_node_added() {
        let other = changed("/Node/Node", json!("n2"));
        let read = read(&[entry("a"), other, entry("b")]);
        let ids: Vec<_> = read.endpoints.iter().map(|e| e.id().as_str()).collect();
        assert_eq!(ids, ["a@n1", "a@n2", "b"]);
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error_wherever_it_ends() {
        let body = serde_json::to_vec(&[entry("a"), entry("b")]).unwrap();
        for end in 0..body.len() {
            assert!(instances(&body[..end]).is_err(), "cut at {end}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>()
                .prop_map(|n| serde_json::Number::from_f64(n).map_or(Value::Null, Value::from)),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
            let name = prop_oneof![Just("ID".to_owned()), Just("Port".to_owned()), ".{0,6}"];
            let map = proptest::collection::hash_map(name, inner, 0..4);
            prop_oneof![list, map.prop_map(|map| map.into_iter().collect())]
        })
    }

    /// Where everything is in `value`, as pointers.
    fn paths(value: &Value) -> Vec<String> {
        let mut all = vec![String::new()];
        let inner: Vec<_> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect()
            }
            _ => Vec::new(),
        };
        for (key, value) in inner {
            all.extend(paths(value).into_iter().map(|path| format!("/{key}{path}")));
        }
        all
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = instances(&body);
        }

        /// The other instances are used, whatever stands in place of a part of one.
        #[test]
        fn whatever_is_mistyped_spoils_at_most_the_instance_that_it_is_in(
            at in any::<prop::sample::Index>(), value in any_json()
        ) {
            let mut bad = entry("bad");
            let paths = paths(&bad);
            let path = at.get(&paths);
            *bad.pointer_mut(path).unwrap() = value;
            let read = read(&[entry("first"), bad, entry("last")]);
            let has = |id| read.endpoints.iter().any(|e| e.id().as_str().starts_with(id));
            prop_assert!(has("first") && has("last"), "{path}: {read:?}");
            prop_assert!(read.endpoints.len() + read.skipped.len() <= 3);
        }

        #[test]
        fn a_byte_that_flips_spoils_at_most_the_instance_that_it_is_in(
            at in 0..10_000_usize, byte in any::<u8>()
        ) {
            let mut body = serde_json::to_vec(&[entry("a"), entry("b")]).unwrap();
            let at = at % body.len();
            body[at] = byte;
            if let Ok(read) = instances(&body) {
                prop_assert!(read.endpoints.len() + read.skipped.len() <= 2);
            }
        }
    }
}
