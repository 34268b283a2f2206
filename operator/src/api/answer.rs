//! What an answer of the API server means: try again, take it as done, or tell the user. Pure.

use http::{HeaderMap, StatusCode, header};
use plan::life::WhyRefused;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// A call that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{verb} {object}")]
pub struct CallError {
    pub verb: &'static str,
    pub object: String,
    #[source]
    pub problem: Problem,
}

/// What kept it from succeeding.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    #[error("it is not there")]
    NotFound,
    #[error("there is one of that name")]
    AlreadyExists,
    #[error("it changed in the meantime")]
    Conflict,
    #[error("refused: {message}")]
    Refused { why: WhyRefused, message: String },
    #[error("the API server is busy: {message}")]
    Busy {
        after: Option<Duration>,
        message: String,
    },
    #[error("the API server failed with {code}: {message}")]
    Failed { code: u16, message: String },
    #[error("no answer in time")]
    TimedOut,
    #[error("reach the API server")]
    Unreachable(#[source] Arc<kube::Error>),
    #[error("read its answer")]
    Undecodable(#[source] Arc<serde_json::Error>),
}

/// Kubernetes' `Status`, as far as it tells more than the code does.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    retry_after_seconds: Option<u64>,
}

/// Reads an answer that is no success. `creating` tells a name that is taken from a version that is old.
pub fn problem_of(creating: bool, code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Problem {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = match status.message.is_empty() {
        true => String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned(),
        false => status.message.clone(),
    };
    let refused = |why| Problem::Refused {
        why,
        message: message.clone(),
    };
    match code {
        StatusCode::NOT_FOUND | StatusCode::GONE if !creating => Problem::NotFound,
        StatusCode::CONFLICT if status.reason == "AlreadyExists" => Problem::AlreadyExists,
        // Two writers met at a quota's own record; nothing was made.
        StatusCode::CONFLICT => Problem::Conflict,
        StatusCode::FORBIDDEN if message.contains("exceeded quota") => refused(WhyRefused::Quota),
        StatusCode::FORBIDDEN => refused(WhyRefused::Forbidden),
        StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE => refused(WhyRefused::Invalid),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Problem::Busy {
            after: retry_after(headers).or(status
                .details
                .and_then(|details| details.retry_after_seconds)
                .map(Duration::from_secs)),
            message,
        },
        code => Problem::Failed {
            code: code.as_u16(),
            message,
        },
    }
}

/// The header in its form of seconds; API servers send no other.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn problem(creating: bool, code: u16, body: Value) -> Problem {
        let code = StatusCode::from_u16(code).unwrap();
        problem_of(
            creating,
            code,
            &HeaderMap::new(),
            body.to_string().as_bytes(),
        )
    }

    fn why(code: u16, message: &str) -> WhyRefused {
        match problem(true, code, json!({"message": message})) {
            Problem::Refused { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_says_whether_it_may_pass() {
        let quota = "pods \"a\" is forbidden: exceeded quota: small, requested: pods=1";
        assert_eq!(why(403, quota), WhyRefused::Quota);
        assert_eq!(why(403, "violates PodSecurity"), WhyRefused::Forbidden);
        assert_eq!(why(422, "spec.containers[0].image"), WhyRefused::Invalid);
        assert_eq!(why(400, "cannot unmarshal"), WhyRefused::Invalid);
    }

    #[test]
    fn a_name_that_is_taken_is_told_from_a_version_that_is_old() {
        let taken = json!({"reason": "AlreadyExists"});
        assert!(matches!(problem(true, 409, taken), Problem::AlreadyExists));
        let old = json!({"reason": "Conflict"});
        assert!(matches!(problem(false, 409, old), Problem::Conflict));
    }

    #[test]
    fn what_is_not_there_cannot_be_meant_by_a_create() {
        assert!(matches!(problem(false, 404, json!({})), Problem::NotFound));
        let missing = problem(true, 404, json!({"message": "namespaces \"x\" not found"}));
        assert!(matches!(missing, Problem::Failed { code: 404, .. }));
    }

    #[test]
    fn a_busy_server_says_when_to_come_again() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        let by_header = problem_of(false, StatusCode::TOO_MANY_REQUESTS, &headers, b"{}");
        assert!(
            matches!(by_header, Problem::Busy { after: Some(after), .. } if after.as_secs() == 7)
        );
        let by_body = problem(false, 429, json!({"details": {"retryAfterSeconds": 3}}));
        assert!(
            matches!(by_body, Problem::Busy { after: Some(after), .. } if after.as_secs() == 3)
        );
    }

    #[test]
    fn an_answer_that_is_no_status_still_says_something() {
        let problem = problem_of(
            false,
            StatusCode::BAD_GATEWAY,
            &HeaderMap::new(),
            b"<html>upstream</html>",
        );
        assert_eq!(
            problem.to_string(),
            "the API server failed with 502: <html>upstream</html>"
        );
    }
}
