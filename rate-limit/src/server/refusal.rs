//! How a server says no, in the terms of whoever asked.

use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A refusal without a body: `status` for HTTP, RESOURCE_EXHAUSTED and `message` for gRPC. Which of
/// the two, the content type of the request says.
pub(crate) fn refusal<B: Default>(
    content_type: Option<&HeaderValue>,
    status: StatusCode,
    message: &'static str,
) -> Response<B> {
    let mut response = Response::new(B::default());
    match content_type {
        Some(grpc) if is_grpc(grpc) => {
            // The headers of a gRPC response that has nothing but trailers.
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, grpc.clone());
            headers.insert(GRPC_STATUS, HeaderValue::from_static("8"));
            headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
        }
        _ => *response.status_mut() = status,
    }
    response
}

/// gRPC, and gRPC-Web too, which reads the status of a response without a body from its headers.
pub(crate) fn is_grpc(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/grpc")
}
