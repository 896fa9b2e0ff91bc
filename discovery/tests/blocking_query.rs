//! What a watch asks of Consul, to the request, and what it makes of strange answers.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod scripted;

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{FutureExt as _, StreamExt as _};
use scripted::{Answer, Scripted, instances, until};
use seawall_discovery::{
    Consistency, Consul, ConsulBuilder, EmptyAnswers, Query, Resolver, Watch, WatchState,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn consul(url: &str) -> ConsulBuilder {
    Consul::builder(url).backoff(ms(5), ms(20)).request_timeout(ms(1_000))
}

fn ids(watch: &Watch) -> Vec<String> {
    watch.current().iter().map(|endpoint| endpoint.id().to_string()).collect()
}

fn why(watch: &Watch) -> String {
    match watch.state() {
        WatchState::Fresh => String::new(),
        WatchState::Stale { why, .. } => why.to_string(),
    }
}

async fn batch(watch: &mut Watch) -> usize {
    timeout(Duration::from_secs(5), watch.next()).await.expect("a change").unwrap().len()
}

/// The indexes that were asked for, in order, when the answers had these.
async fn asked(answers: &'static [&'static str]) -> Vec<Option<String>> {
    let server = Scripted::start(move |number, _| match answers.get(number) {
        Some(index) => Answer::list(index, &["a"]),
        None => Answer::never(),
    })
    .await;
    let _watch = consul(&server.url()).build().unwrap().watch("orders");
    let seen = server.requests(answers.len() + 1).await;
    seen.iter().map(|seen| seen.index().map(str::to_owned)).collect()
}

#[tokio::test]
async fn each_query_waits_beyond_the_index_of_the_last_answer() {
    let indexes = asked(&["10", "12", "12", "400"]).await;
    let want = [None, Some("10"), Some("12"), Some("12"), Some("400")];
    assert_eq!(indexes, want.map(|index| index.map(str::to_owned)));
}

#[tokio::test]
async fn an_index_that_goes_backwards_is_forgotten() {
    let indexes = asked(&["10", "9", "9"]).await;
    let want = [None, Some("10"), None, Some("9")];
    assert_eq!(indexes, want.map(|index| index.map(str::to_owned)));
}

#[tokio::test]
async fn no_query_waits_beyond_zero_or_beyond_nonsense() {
    for nonsense in [&["0", "0"], &["-1", "x"], &["", "99999999999999999999999"]] {
        let indexes = asked(nonsense).await;
        assert_eq!(indexes, [None, Some("1".to_owned()), Some("1".to_owned())], "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_query_names_the_service_the_wait_and_the_datacenter() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::list(7, &["a"]),
        _ => Answer::never(),
    })
    .await;
    let consul = consul(&format!("{}/below/", server.url()))
        .wait(ms(90_000))
        .query(Query::new().datacenter("dc 2"));
    let _watch = consul.build().unwrap().watch("a/b é");
    let seen = server.requests(2).await;
    assert_eq!(seen[0].path, "/below/v1/health/service/a%2Fb%20%C3%A9");
    assert_eq!(seen[0].query, [("dc".into(), "dc+2".into())].into());
    assert_eq!(seen[1].query["wait"], "90000ms");
    assert_eq!((&*seen[1].query["index"], &*seen[1].query["dc"]), ("7", "dc+2"));
    assert_eq!(seen[1].method, "GET");
}

#[tokio::test]
async fn a_new_index_with_the_same_instances_is_no_event() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::list(1, &["a", "b"]),
        1 => Answer::list(2, &["b", "a"]),
        2 => Answer::list(3, &["a", "b"]),
        _ => Answer::never(),
    })
    .await;
    let mut watch = consul(&server.url()).build().unwrap().watch("orders");
    assert_eq!(batch(&mut watch).await, 2);
    server.requests(4).await;
    assert_eq!(watch.next().now_or_never(), None);
}

#[tokio::test]
async fn an_answer_may_take_as_long_as_consul_says_that_it_may() {
    // The wait and its sixteenth, and then some of the slack.
    let server = Scripted::start(|number, _| match number {
        0 => Answer::list(1, &["a"]),
        1 => Answer::list(2, &["b"]).after(ms(400 + 25 + 100)),
        _ => Answer::never(),
    })
    .await;
    let consul = consul(&server.url()).wait(ms(400)).wait_slack(ms(300)).build().unwrap();
    let watch = consul.watch("orders");
    until("answered in time", || ids(&watch) == ["b"]).await;
    assert!(watch.state().is_fresh());
    // The third query is never answered.
    let start = Instant::now();
    until("stale", || !watch.state().is_fresh()).await;
    assert!(why(&watch).ends_with("no answer within 725ms"), "{}", why(&watch));
    let took = start.elapsed();
    assert!(took >= ms(650), "{took:?}");
    assert_eq!(ids(&watch), ["b"]);
    // What follows asks at once, for an agent without its data would hold the old index.
    until("asked anew", || server.seen().len() > 3).await;
    assert_eq!(server.seen()[3].index(), None);
}

#[tokio::test]
async fn failures_in_a_row_are_tried_again_ever_more_slowly() {
    let server = Scripted::start(|_, _| Answer::error(500, "No cluster leader")).await;
    let consul = Consul::builder(&server.url()).backoff(ms(100), ms(1_600)).build().unwrap();
    let watch = consul.watch("orders");
    sleep(ms(2_000)).await;
    // The waits are at most 100, 200, 400, 800 and then 1600 ms, and half of that on average.
    let count = server.seen().len();
    assert!((5..=14).contains(&count), "{count} requests");
    assert!(why(&watch).ends_with("is unavailable: 500 No cluster leader"), "{}", why(&watch));
}

#[tokio::test]
async fn a_service_that_changes_without_pause_is_asked_for_at_a_steady_rate() {
    for moves in [true, false] {
        let server = Scripted::start(move |number, _| {
            Answer::list(if moves { 10 + number } else { 10 }, &[["a", "b"][number % 2]])
        })
        .await;
        let start = Instant::now();
        let _watch = consul(&server.url()).build().unwrap().watch("orders");
        sleep(ms(1_500)).await;
        let (count, most) = (server.seen().len(), start.elapsed().as_millis() as usize / 100 + 9);
        assert!((15..=most).contains(&count), "{count} of {most} requests, moving: {moves}");
    }
}

#[tokio::test]
async fn a_few_changes_in_a_row_are_not_slowed_down() {
    let server = Scripted::start(|number, _| match number {
        0..5 => Answer::list(10 + number, &[["a", "b"][number % 2]]),
        _ => Answer::never(),
    })
    .await;
    let _watch = consul(&server.url()).build().unwrap().watch("orders");
    let seen = server.requests(6).await;
    let took = seen[5].at - seen[0].at;
    assert!(took < ms(100), "{took:?}");
}

#[tokio::test]
async fn watches_of_one_service_share_one_query_which_ends_with_them() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::list(1, &["a"]),
        _ => Answer::never(),
    })
    .await;
    let consul = consul(&server.url()).build().unwrap();
    let watches: Vec<_> = (0..10).map(|_| consul.clone().watch("orders")).collect();
    for watch in &watches {
        watch.ready(ms(1_000)).await.unwrap();
    }
    server.requests(2).await;
    sleep(ms(50)).await;
    assert_eq!((server.seen().len(), server.open().0), (2, 1));
    drop(watches);
    until("abandoned", || server.open().0 == 0).await;
    sleep(ms(50)).await;
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn more_services_than_places_take_turns() {
    let server = Scripted::start(|_, seen| {
        let name: &str = seen.path.rsplit('/').next().unwrap();
        let wait = seen.query.get("wait").and_then(|w| w.strip_suffix("ms")?.parse().ok());
        Answer::list(5, &[name]).after(ms(wait.unwrap_or(0)))
    })
    .await;
    let consul = consul(&server.url()).max_in_flight(3).build().unwrap();
    let watches: Vec<_> = (0..9).map(|n| consul.watch(&format!("s{n}"))).collect();
    for (n, watch) in watches.iter().enumerate() {
        watch.ready(Duration::from_secs(5)).await.unwrap();
        assert_eq!(ids(watch), [format!("s{n}")]);
    }
    // Each of the nine waits for half a second in its turn, three at once.
    sleep(ms(2_500)).await;
    assert_eq!(server.open().1, 3, "at most as many at once as were asked for");
    for n in 0..9 {
        let count = server.seen_at(&format!("/s{n}")).len();
        assert!((2..=4).contains(&count), "s{n} was asked for {count} times");
    }
}

#[tokio::test]
async fn an_empty_answer_empties_the_set_when_the_history_went_on() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::list(1, &["a"]),
        1 => Answer::list(2, &[]),
        _ => Answer::never(),
    })
    .await;
    let watch = consul(&server.url()).build().unwrap().watch("orders");
    watch.ready(ms(1_000)).await.unwrap();
    until("empty", || ids(&watch).is_empty()).await;
    assert!(watch.state().is_fresh());
}

/// Index backwards, failure and garbage, each followed by empty answers.
fn trouble() -> [fn() -> Answer; 3] {
    [
        || Answer::list(1, &[]),
        || Answer::error(500, "rpc error"),
        || Answer::json("[{").header("X-Consul-Index", 6),
    ]
}

#[tokio::test]
async fn an_empty_answer_after_trouble_is_held_back_for_the_grace_and_then_applied() {
    for trouble in trouble() {
        let server = Scripted::start(move |number, _| match number {
            0 => Answer::list(5, &["a"]),
            1 => trouble(),
            2 => Answer::list(9, &[]),
            n => Answer::list(9 + n, &[]).after(ms(50)),
        })
        .await;
        let consul = consul(&server.url()).empty_answers(EmptyAnswers::HoldFor(ms(400)));
        let watch = consul.build().unwrap().watch("orders");
        watch.ready(ms(1_000)).await.unwrap();
        until("held", || why(&watch).contains("no instance")).await;
        let start = Instant::now();
        until("applied", || ids(&watch).is_empty()).await;
        let held = start.elapsed();
        assert!(held >= ms(300) && held < ms(900), "{held:?}");
        assert!(watch.state().is_fresh());
    }
}

#[tokio::test]
async fn the_policy_for_empty_answers_can_be_never_or_at_once() {
    for trouble in trouble() {
        let reply = move |number, _: &scripted::Seen| match number {
            0 => Answer::list(5, &["a"]),
            1 => trouble(),
            2 => Answer::list(9, &[]),
            3 => Answer::list(10, &[]).after(ms(100)),
            4 => Answer::list(11, &["b"]).after(ms(100)),
            5 => Answer::list(12, &[]),
            _ => Answer::never(),
        };
        let server = Scripted::start(reply).await;
        let forever = consul(&server.url()).empty_answers(EmptyAnswers::HoldForever);
        let watch = forever.build().unwrap().watch("orders");
        server.requests(5).await;
        assert_eq!((ids(&watch), watch.state().is_fresh()), (vec!["a".into()], false));
        server.requests(7).await;
        until("empty", || ids(&watch).is_empty()).await;

        let server = Scripted::start(reply).await;
        let apply = consul(&server.url()).empty_answers(EmptyAnswers::Apply).build().unwrap();
        let watch = apply.watch("orders");
        server.requests(4).await;
        assert_eq!((ids(&watch), watch.state().is_fresh()), (vec![], true));
    }
}

#[tokio::test]
async fn strange_answers_leave_the_last_set_in_use() {
    let endless = || {
        let chunk = Bytes::from(vec![b'['; 64 << 10]);
        Body::from_stream(futures::stream::repeat_with(move || {
            Ok::<_, std::io::Error>(chunk.clone())
        }))
    };
    let cut = || Body::from(instances(&["b"]).into_bytes()[..60].to_vec());
    type Make = Box<dyn Fn() -> Answer + Send>;
    let strange: Vec<(&str, Make)> = vec![
        ("cannot be understood", Box::new(move || Answer::json(cut()))),
        ("cannot be understood", Box::new(|| Answer::json("{}"))),
        ("cannot be understood", Box::new(|| Answer::json(vec![0xff_u8, 0xfe]))),
        ("cannot be understood", Box::new(|| Answer::json(""))),
        ("larger than 1048576 bytes", Box::new(move || Answer::json(endless()))),
        ("refused: 301", Box::new(|| Answer::error(301, "").header("Location", "/v1/evil"))),
        ("denies access: 403", Box::new(|| Answer::error(403, "Permission denied"))),
    ];
    for (expected, make) in strange {
        let server = Scripted::start(move |number, _| match number {
            0 => Answer::list(1, &["a"]),
            1 => make().header("X-Consul-Index", 2),
            2 => Answer::list(3, &["a", "c"]).after(ms(100)),
            _ => Answer::never(),
        })
        .await;
        let watch =
            consul(&server.url()).max_answer_bytes(1 << 20).build().unwrap().watch("orders");
        until(expected, || why(&watch).contains(expected)).await;
        assert_eq!(ids(&watch), ["a"], "{expected}");
        until("well again", || ids(&watch) == ["a", "c"]).await;
        assert!(watch.state().is_fresh(), "{expected}");
        assert!(server.seen().iter().all(|seen| !seen.path.contains("evil")));
    }
}

#[tokio::test]
async fn a_length_that_lies_and_a_connection_that_breaks_leave_the_last_set_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let (list, longer) = (instances(&["a"]), if number == 0 { 0 } else { 10 });
            let head = format!(
                "HTTP/1.1 200 OK\r\nX-Consul-Index: {number}\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n",
                list.len() + longer,
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // The second answer promises more than comes.
            stream.write_all(list.as_bytes()).await.unwrap();
        }
    };
    let server = tokio::spawn(serve);
    let watch = consul(&url).build().unwrap().watch("orders");
    watch.ready(ms(1_000)).await.unwrap();
    until("stale", || why(&watch).contains("unreachable")).await;
    assert_eq!(ids(&watch), ["a"]);
    server.abort();
}

#[tokio::test]
async fn the_token_is_in_a_header_only_and_is_asked_for_anew_each_time() {
    let server = Scripted::start(|number, _| match number {
        0..3 => Answer::list(number + 1, &["a"]),
        _ => Answer::never(),
    })
    .await;
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let next = move || {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("secret-{call}\n")
    };
    let consul = consul(&server.url()).token_with(next).build().unwrap();
    let _watch = consul.watch("orders");
    let seen = server.requests(4).await;
    for (number, seen) in seen.iter().enumerate() {
        assert_eq!(seen.token.as_deref(), Some(&*format!("secret-{number}")));
        assert!(!format!("{} {:?}", seen.path, seen.query).contains("secret"), "{seen:?}");
    }
    assert!(!format!("{consul:?}").contains("secret"), "{consul:?}");
}

#[tokio::test]
async fn a_query_of_its_own_has_a_watch_of_its_own() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::list(3, &["a"]),
        _ => Answer::never(),
    })
    .await;
    let consul = consul(&server.url()).namespace("n").partition("p").build().unwrap();
    let query = Query::new().tag("a&b").tag("c").filter("Service.Port == 1");
    let query = query.consistency(Consistency::Stale);
    let watch = consul.watch_with("orders", query.clone()).unwrap();
    let same = consul.watch_with("orders", query).unwrap();
    watch.ready(ms(1_000)).await.unwrap();
    server.requests(2).await;
    let seen = &server.seen()[1].query;
    assert_eq!((&*seen["filter"], &*seen["tag"]), ("Service.Port+%3D%3D+1", "c"));
    assert_eq!((&*seen["ns"], &*seen["partition"], &*seen["index"]), ("n", "p", "3"));
    let all = consul.watch("orders");
    server.requests(3).await;
    sleep(ms(50)).await;
    assert_eq!((server.seen().len(), server.open().0), (3, 2));
    drop((watch, same));
    until("one left", || server.open().0 == 1).await;
    drop(all);
    assert!(consul.watch_with("orders", Query::new().tag("")).is_err());
}

#[tokio::test]
async fn idle_watches_ask_once_a_wait_and_those_in_turn_once_a_turn() {
    // Each wait is as long as Consul is asked to hold it.
    let server = Scripted::start(|_, seen| {
        let wait = seen.query.get("wait").and_then(|w| w.strip_suffix("ms")?.parse().ok());
        Answer::list(5, &["a"]).after(ms(wait.unwrap_or(0)))
    })
    .await;
    for (in_flight, services, wait, range) in [
        // All of them at once: two waits each in the two seconds.
        (64, 50, 1_000, 50..=150),
        // 500 have 64 places for half a second each: 128 requests a second, as many as there are
        // places, however many watches there are.
        (64, 500, 60_000, 180..=340),
    ] {
        let consul = consul(&server.url()).wait(ms(wait)).max_in_flight(in_flight);
        let consul = consul.build().unwrap();
        let watches: Vec<_> = (0..services).map(|n| consul.watch(&format!("s{n}"))).collect();
        for watch in &watches {
            watch.ready(Duration::from_secs(10)).await.unwrap();
        }
        let before = server.seen().len();
        sleep(ms(2_000)).await;
        let count = server.seen().len() - before;
        println!("{services} idle watches, {in_flight} in flight: {count} requests in 2 s");
        assert!(range.contains(&count), "{count} requests of {services} watches");
    }
}
