//! Answers that are not successes, each a sentence in JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::view::Failure;
use crate::config::ConfigError;
use crate::protocols::host::Refusal;
use crate::runtime::handle::{ApplyError, DataplaneAway, Stopped};

#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The request does not say what it should.
    #[error("{0}")]
    BadRequest(String),
    #[error("this address is for reading only: change things through the control socket, as `millrace` does")]
    ReadOnly,
    #[error("there is no {0} here; /api/v1/openapi.json says what there is")]
    NotFound(String),
    #[error("this path takes another method")]
    WrongMethod,
    #[error("the request did not arrive in time")]
    TooSlow,
    #[error("the request is larger than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("{0}")]
    Conflict(&'static str),
    #[error(transparent)]
    Dataplane(#[from] DataplaneAway),
    #[error(
        "the dataplane gave another answer than was asked for: control and dataplane are of different builds"
    )]
    Answer,
    #[error("no answer within {0} seconds")]
    Timeout(u64),
    #[error("{0} does not run: the configuration has no [{0}]")]
    NotRunning(&'static str),
    #[error(transparent)]
    Protocol(#[from] Refusal),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Protocol(Refusal::BadRequest(_)) => StatusCode::BAD_REQUEST,
            Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::NotRunning(_) | Self::Protocol(Refusal::NotFound(_)) => {
                StatusCode::NOT_FOUND
            }
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Config(_) | Self::Apply(ApplyError::Dataplane(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict(_) | Self::Apply(ApplyError::Busy) => StatusCode::CONFLICT,
            Self::Dataplane(_)
            | Self::Stopped(_)
            | Self::Apply(ApplyError::Stopped(_))
            | Self::Protocol(Refusal::Ending) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Answer => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut failure = Failure { error: self.to_string(), problems: Vec::new() };
        if let Self::Config(error) = self {
            failure.error = "the configuration is not right; nothing has changed".to_owned();
            failure.problems = error.problems;
        }
        (status, Json(failure)).into_response()
    }
}
