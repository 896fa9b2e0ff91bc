//! Headers and trailers that no honest server sends: a status, and no panic.

#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::{collection::vec, prelude::*};
use seawall_core::{
    Outcome,
    http::{AtBodyEnd, BodyEnd, ClassifyBody, ClassifyEnd, HttpStatus, Verdict},
    tonic::{GrpcEnd, GrpcStatus, StatusService},
};
use seawall_test_support::{EchoClient, EchoRequest};
use support::{FAILURE, Recorder, SUCCESS, Tracked};
use tokio::net::TcpListener;
use tonic::{Code, Status, transport::Channel};

const DETAILS: &str = "grpc-status-details-bin";

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        })
        .collect()
}

/// Where a server puts the headers of the test.
#[derive(Clone, Copy, Debug)]
enum Place {
    Head,
    Trailers,
}

/// An HTTP/2 server that answers each request with these headers and nothing else.
async fn grpc_server(place: Place, headers: HeaderMap) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let headers = headers.clone();
            let answer = service_fn(move |_| {
                let headers = headers.clone();
                async move { Ok::<_, Infallible>(answer(place, headers)) }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

type AnswerBody =
    StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn answer(place: Place, headers: HeaderMap) -> Response<AnswerBody> {
    let mut response = Response::builder().header("content-type", "application/grpc");
    let frames = match place {
        Place::Head => {
            response.headers_mut().unwrap().extend(headers);
            Vec::new()
        }
        Place::Trailers => vec![Ok(Frame::trailers(headers))],
    };
    response.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap()
}

async fn call(place: Place, headers: HeaderMap) -> (Result<(), Status>, Recorder) {
    let address = grpc_server(place, headers).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let (service, recorder) = Tracked::new(channel, AtBodyEnd(GrpcStatus::new()));
    let mut client = EchoClient::new(StatusService::new(service));
    let answer = client.unary(EchoRequest::default()).await.map(drop);
    (answer, recorder)
}

#[tokio::test]
async fn a_status_code_that_is_none_is_unknown() {
    let long = vec![b'9'; 400];
    let codes: [&[u8]; 9] = [&long, b"", b"-1", b"17", b"99", b" 5", b"+5", b"\xff\xfe", b"five"];
    for place in [Place::Head, Place::Trailers] {
        for code in codes {
            let (answer, recorder) = call(place, headers(&[("grpc-status", code)])).await;
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::Unknown, "{place:?} {code:?}");
            assert_eq!(recorder.outcome(), FAILURE, "{place:?} {code:?}");
        }
    }
}

#[tokio::test]
async fn details_that_are_not_base64_are_removed_and_the_status_stays() {
    let undecodable: [&[u8]; 6] = [b"!", b"QQ=\xff", b"A", b"QUJD=QUJD", b"QR", b"====="];
    for place in [Place::Head, Place::Trailers] {
        for details in undecodable {
            let hostile = headers(&[("grpc-status", b"5"), ("x-kept", b"1"), (DETAILS, details)]);
            let (answer, recorder) = call(place, hostile).await;
            let status = answer.unwrap_err();
            assert_eq!(
                (status.code(), status.details()),
                (Code::NotFound, &b""[..]),
                "{details:?}"
            );
            assert_eq!(status.metadata().get("x-kept").unwrap(), "1");
            assert_eq!(recorder.outcome(), SUCCESS);
        }
    }
}

#[tokio::test]
async fn details_that_are_base64_stay() {
    for (sent, read) in [("QUJD", "ABC"), ("QUI=", "AB"), ("QUI", "AB"), ("", "")] {
        for place in [Place::Head, Place::Trailers] {
            let (answer, _) =
                call(place, headers(&[("grpc-status", b"5"), (DETAILS, sent.as_bytes())])).await;
            assert_eq!(answer.unwrap_err().details(), read.as_bytes(), "{sent} {place:?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_not_utf8_leaves_the_servers_code_to_be_judged() {
    for message in [&b"%ff%fe"[..], b"%", b"%zz", b"\xc3\x28"] {
        let hostile = headers(&[("grpc-status", b"5"), ("grpc-message", message)]);
        let (answer, recorder) = call(Place::Trailers, hostile).await;
        answer.unwrap_err();
        assert_eq!(recorder.outcome(), SUCCESS, "{message:?}");
    }
}

#[tokio::test]
async fn a_server_whose_tonic_timed_out_has_failed() {
    let timed_out = [("grpc-status", &b"1"[..]), ("grpc-message", b"Timeout%20expired")];
    for place in [Place::Head, Place::Trailers] {
        let (answer, recorder) = call(place, headers(&timed_out)).await;
        assert_eq!(answer.unwrap_err().code(), Code::Cancelled);
        assert_eq!(recorder.outcome(), FAILURE);
    }
}

#[tokio::test]
async fn an_answer_without_a_status_is_a_failure() {
    for place in [Place::Head, Place::Trailers] {
        let (answer, recorder) = call(place, headers(&[("x-other", b"1")])).await;
        answer.unwrap_err();
        assert_eq!(recorder.outcome(), FAILURE);
    }
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop_oneof![
        Just("grpc-status"),
        Just("grpc-message"),
        Just(DETAILS),
        Just("content-length"),
        Just("x-other"),
    ];
    let value = prop_oneof![
        vec(any::<u8>(), 0..40),
        "[A-Za-z0-9+/]{0,8}={0,3}".prop_map(String::into_bytes),
        "1?[0-9]".prop_map(String::into_bytes),
    ];
    vec((name, value), 0..6).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        headers
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_headers_are_judged_and_are_safe_for_tonic_afterwards(
        sent in any_headers(),
        status in 100..1000_u16,
    ) {
        let grpc = GrpcStatus::new();
        let mut headers = sent.clone();
        GrpcEnd::sanitize(&mut headers);

        // Nothing but undecodable details is ever taken away.
        for name in sent.keys().filter(|name| **name != DETAILS) {
            prop_assert!(sent.get_all(name).iter().eq(headers.get_all(name)));
        }
        let read = Status::from_header_map(&headers);
        if headers.contains_key(DETAILS) {
            prop_assert!(sent.get_all(DETAILS).iter().eq(headers.get_all(DETAILS)));
        }

        let mut head = Response::builder().status(status).body(()).unwrap().into_parts().0;
        head.headers = headers.clone();
        let verdict = ClassifyBody::<Status>::head(&grpc, &head);
        prop_assert_eq!(matches!(verdict, Verdict::Now(_)), read.is_some() || status != 200);

        if let Verdict::AtEnd(end) = ClassifyBody::<Status>::head(&grpc, &ok_head()) {
            let outcome = end.end(BodyEnd::Trailers(&headers)).expect("trailers end a call");
            // tonic reads a message that is no UTF-8 as UNKNOWN; the code that was sent counts.
            if let Some(read) = read.filter(|read| read.code() != Code::Unknown && read.code() != Code::Cancelled) {
                prop_assert_eq!(outcome, grpc.outcome(read.code()));
            }
        }
        let _ = ClassifyBody::<Status>::head(&HttpStatus::new(), &head);
    }
}

fn ok_head() -> http::response::Parts {
    Response::new(Empty::<Bytes>::new()).into_parts().0
}

#[test]
fn a_missing_status_is_unknown_where_a_policy_forgives_it() {
    let forgiving = GrpcStatus::new().code(Code::Unknown, Outcome::Ignored);
    let Verdict::AtEnd(end) = ClassifyBody::<Status>::head(&forgiving, &ok_head()) else {
        panic!("a head without a status ends nothing");
    };
    assert_eq!(end.end(BodyEnd::Complete), Some(Outcome::Ignored));
}
