//! A probe sees how it is used.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::FutureExt as _;
use seawall_test_support::{Probe, Readiness, Reply};
use tower_service::Service;

type Echo = Probe<u32, u32, &'static str>;

async fn ready(probe: &mut Echo) -> Result<(), &'static str> {
    poll_fn(|cx| probe.poll_ready(cx)).await
}

#[tokio::test]
async fn calls_answers_and_cancels_are_counted() {
    let mut probe = Echo::replies([
        Reply::ok(1),
        Reply::error("no"),
        Reply::Never,
        Reply::Held(Ok(4)),
        Reply::Held(Ok(5)),
    ]);
    let handle = probe.handle();

    ready(&mut probe).await.unwrap();
    assert_eq!((handle.readiness_polls(), handle.reserved()), (1, 1));
    assert_eq!(probe.call(0).await, Ok(1));
    ready(&mut probe).await.unwrap();
    assert_eq!(probe.call(0).await, Err("no"));
    assert_eq!((handle.calls(), handle.completed(), handle.in_flight()), (2, 2, 0));

    ready(&mut probe).await.unwrap();
    let mut never = probe.call(0);
    assert!((&mut never).now_or_never().is_none());
    drop(never);
    assert_eq!((handle.completed(), handle.cancelled(), handle.in_flight()), (2, 1, 0));

    ready(&mut probe).await.unwrap();
    let mut fourth = probe.call(0);
    ready(&mut probe).await.unwrap();
    let mut fifth = probe.call(0);
    assert_eq!((handle.held(), handle.in_flight(), handle.max_in_flight()), (2, 2, 2));
    handle.release(1);
    assert!((&mut fifth).now_or_never().is_none(), "the oldest answer is released first");
    assert_eq!((&mut fourth).now_or_never(), Some(Ok(4)));
    drop(fifth);
    assert_eq!((handle.held(), handle.cancelled()), (0, 2));
    handle.assert_idle();
}

#[tokio::test]
async fn a_release_wakes_the_task_that_waits() {
    let mut probe = Echo::new(|request| Reply::Held(Ok(request)));
    let handle = probe.handle();
    ready(&mut probe).await.unwrap();
    let task = tokio::spawn(probe.call(7));
    tokio::task::yield_now().await;
    handle.release_all();
    assert_eq!(task.await.unwrap(), Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_takes_its_time_from_the_call_on() {
    let mut probe = Echo::new(|request| Reply::After(Duration::from_secs(3), Ok(request)));
    ready(&mut probe).await.unwrap();
    let start = tokio::time::Instant::now();
    let response = probe.call(1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(response.await, Ok(1));
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test]
async fn a_clone_of_a_ready_instance_is_not_ready() {
    let mut probe = Echo::always(1).lenient();
    let handle = probe.handle();
    ready(&mut probe).await.unwrap();
    let mut clone = probe.clone();
    assert_eq!(clone.call(0).await, Ok(1));
    assert_eq!((handle.clones(), handle.violations(), handle.reserved()), (1, 1, 1));
    drop(probe);
    assert_eq!((handle.reserved(), handle.abandoned()), (0, 1));
}

#[tokio::test]
#[should_panic(expected = "not polled ready")]
async fn a_second_call_needs_a_second_readiness() {
    let mut probe = Echo::always(1);
    ready(&mut probe).await.unwrap();
    let _first = probe.call(0);
    let _second = probe.call(0);
}

#[tokio::test]
async fn a_capacity_is_held_by_ready_instances_and_by_calls() {
    let mut probe = Echo::new(|request| Reply::Held(Ok(request))).capacity(1);
    let handle = probe.handle();
    let mut other = probe.clone();
    ready(&mut probe).await.unwrap();
    assert!(ready(&mut other).now_or_never().is_none());
    let call = probe.call(0);
    assert!(ready(&mut other).now_or_never().is_none());
    let waiting = tokio::spawn(async move { ready(&mut other).await });
    tokio::task::yield_now().await;
    drop(call);
    assert_eq!(waiting.await.unwrap(), Ok(()));
    handle.assert_idle();
}

#[tokio::test]
async fn readiness_can_be_withheld_delayed_and_refused() {
    let mut said = [Readiness::Later, Readiness::Error("broken"), Readiness::Ready].into_iter();
    let mut probe = Echo::always(1).readiness(move || said.next().unwrap_or(Readiness::Ready));
    let handle = probe.handle();
    assert_eq!(ready(&mut probe).await, Err("broken"));
    assert_eq!(handle.readiness_polls(), 2);

    handle.set_ready(false);
    assert!(ready(&mut probe).now_or_never().is_none());
    handle.set_ready(true);
    assert_eq!(ready(&mut probe).await, Ok(()));
}

#[tokio::test]
#[should_panic(expected = "a call after the 1 scripted ones")]
async fn a_script_that_is_used_up_says_so() {
    let mut probe = Echo::replies([Reply::ok(1)]);
    for _ in 0..2 {
        ready(&mut probe).await.unwrap();
        let _ = probe.call(0).await;
    }
}
