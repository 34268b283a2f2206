//! The log of one container as it is written, across everything that ends a stream before the container ends.
//!
//! Invariant: a line is shown once, however often the stream breaks: lines carry the kubelet's time, and a stream that is
//! taken up again begins after the last one shown.

use crate::logs::lines::{Lines, Piece};
use crate::problem::{Call, Kind, Problem};
use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use std::sync::Arc;
use std::time::Duration;
use terminal::{Console, Stream};
use tokio::sync::watch;

/// How long to wait before a container or a kubelet is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a kubelet that fails is asked for the log of a container that has ended.
const TRIES: u32 = 5;

/// Whose log.
#[derive(Clone)]
pub struct Source {
    pub pods: Api<Pod>,
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

/// How much of it, and how it is shown.
#[derive(Clone)]
pub struct Show {
    pub console: Arc<Console>,
    /// Before each line, `[worker default-3] `; empty for a log alone.
    pub prefix: String,
    pub timestamps: bool,
    pub tail_lines: Option<i64>,
}

/// How a log ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All of it was shown.
    Shown,
    /// The container has not begun: what it waits for.
    NotBegun(String),
    /// There is no such pod.
    NoPod,
    /// Nobody reads what is shown.
    NoReader,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Waiting(String),
    Running,
    Ended,
}

/// What a pod's status says of one of its containers.
pub fn state_of(pod: &Pod, container: &str) -> State {
    let status = pod.status.as_ref();
    let phase = status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default();
    let state = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|all| all.iter().find(|status| status.name == container))
        .and_then(|status| status.state.as_ref());
    if ["Succeeded", "Failed"].contains(&phase)
        || state.is_some_and(|state| state.terminated.is_some())
    {
        return State::Ended;
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return State::Running;
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.clone());
    State::Waiting(reason.unwrap_or_else(|| phase.to_owned()))
}

/// Where a log was left.
#[derive(Default)]
struct Position {
    last: Option<String>,
    begun: bool,
    /// Of the present line: whether it was shown before.
    skipping: bool,
}

impl Source {
    /// What is there now.
    pub async fn show(&self, show: &Show) -> Result<End, Problem> {
        let Some(pod) = self.pod().await? else {
            return Ok(End::NoPod);
        };
        if let State::Waiting(why) = state_of(&pod, &self.container) {
            return Ok(End::NotBegun(why));
        }
        let mut position = Position::default();
        match self.read(show, false, &mut position).await? {
            true => Ok(End::Shown),
            false => Ok(End::NoReader),
        }
    }

    /// Everything until the container has ended. Waits for one that has not begun, unless the job is over.
    pub async fn follow(&self, show: &Show, over: watch::Receiver<bool>) -> Result<End, Problem> {
        let mut position = Position::default();
        let mut failures = 0;
        loop {
            let is_over = *over.borrow();
            let pod = match self.pod().await {
                Ok(pod) => pod,
                Err(problem)
                    if problem.kind == Kind::Unreachable || problem.kind == Kind::Failed =>
                {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(problem) => return Err(problem),
            };
            let state = match &pod {
                None if is_over || position.begun => return Ok(End::NoPod),
                None => State::Waiting(String::new()),
                Some(pod) => state_of(pod, &self.container),
            };
            match state {
                State::Waiting(why) if is_over => return Ok(End::NotBegun(why)),
                State::Waiting(_) => {}
                State::Running | State::Ended => {
                    let ended = state == State::Ended;
                    match self.read(show, !ended, &mut position).await {
                        Ok(false) => return Ok(End::NoReader),
                        Ok(true) if ended => return Ok(End::Shown),
                        Ok(true) => continue,
                        Err(problem) => {
                            failures += 1;
                            if problem.kind == Kind::Forbidden || (ended && failures >= TRIES) {
                                return Err(problem);
                            }
                        }
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn pod(&self) -> Result<Option<Pod>, Problem> {
        self.pods
            .get_opt(&self.pod)
            .await
            .map_err(|error| self.call("get", "pods").problem(error))
    }

    fn call<'a>(&'a self, verb: &'a str, resource: &'a str) -> Call<'a> {
        Call {
            verb,
            resource,
            namespace: &self.namespace,
            name: &self.pod,
        }
    }

    /// Shows what a stream brings until it ends; false when nobody reads it any more.
    async fn read(
        &self,
        show: &Show,
        follow: bool,
        position: &mut Position,
    ) -> Result<bool, Problem> {
        let parameters = LogParams {
            container: Some(self.container.clone()),
            follow,
            timestamps: true,
            tail_lines: show.tail_lines.filter(|_| position.last.is_none()),
            since_time: position.last.as_deref().and_then(|time| time.parse().ok()),
            ..LogParams::default()
        };
        let stream = self
            .pods
            .log_stream(&self.pod, &parameters)
            .await
            .map_err(|error| self.call("get", "pods/log").problem(error))?;
        position.begun = true;
        let mut stream = std::pin::pin!(stream);
        let mut lines = Lines::default();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            // A connection that breaks is taken up again by whoever follows.
            let count = stream.read(&mut buffer).await.unwrap_or(0);
            let pieces: Vec<Piece> = match count {
                0 => lines.flush().into_iter().collect(),
                count => lines.push(&buffer[..count]),
            };
            let bytes = position.new_of(pieces, show);
            if !bytes.is_empty() && show.console.pass_on(Stream::Output, bytes).await.is_err() {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
        }
    }
}

impl Position {
    /// What of these was not shown yet, as it is shown.
    fn new_of(&mut self, pieces: Vec<Piece>, show: &Show) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces {
            if piece.begins_line {
                // Of the same second, a stream taken up again repeats what was shown.
                self.skipping = match (&piece.time, &self.last) {
                    (Some(time), Some(last)) => time <= last,
                    (_, _) => false,
                };
                if self.skipping {
                    continue;
                }
                bytes.extend_from_slice(show.prefix.as_bytes());
                if let Some(time) = &piece.time {
                    if show.timestamps {
                        bytes.extend_from_slice(time.as_bytes());
                        bytes.push(b' ');
                    }
                    self.last = Some(time.clone());
                }
            } else if self.skipping {
                continue;
            }
            bytes.extend_from_slice(&piece.text);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn show(prefix: &str, timestamps: bool) -> Show {
        Show {
            console: Arc::new(Console::silent()),
            prefix: prefix.to_owned(),
            timestamps,
            tail_lines: None,
        }
    }

    fn lines(log: &str) -> Vec<Piece> {
        Lines::default().push(log.as_bytes())
    }

    #[test]
    fn a_stream_taken_up_again_shows_each_line_once() {
        let mut position = Position::default();
        let mut seen = |log: &str| {
            let bytes = position.new_of(lines(log), &show("", false));
            String::from_utf8(bytes).unwrap()
        };
        let (one, two, three) = (
            "2026-11-21T12:00:00.000000001Z one\n",
            "2026-11-21T12:00:00.000000002Z two\n",
            "2026-11-21T12:00:01.000000000Z three\n",
        );
        assert_eq!(seen(&format!("{one}{two}")), "one\ntwo\n");
        assert_eq!(seen(&format!("{one}{two}{three}")), "three\n");
        assert_eq!(seen("the kubelet says\n"), "the kubelet says\n");
    }

    #[test]
    fn each_line_has_its_prefix_and_its_time_where_asked() {
        let mut position = Position::default();
        let bytes = position.new_of(
            lines("2026-11-21T12:00:00.000000001Z one\n"),
            &show("[a] ", true),
        );
        assert_eq!(bytes, b"[a] 2026-11-21T12:00:00.000000001Z one\n");
    }

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()
    }

    #[test]
    fn a_container_waits_runs_or_has_ended() {
        let of = |phase: &str, state: Value| {
            let containers = match state {
                Value::Null => json!([]),
                state => {
                    json!([{"name": "runner", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0}])
                }
            };
            state_of(
                &pod(json!({"phase": phase, "containerStatuses": containers})),
                "runner",
            )
        };
        assert_eq!(
            of("Pending", Value::Null),
            State::Waiting("Pending".to_owned())
        );
        let waiting = json!({"waiting": {"reason": "ErrImagePull"}});
        assert_eq!(
            of("Pending", waiting),
            State::Waiting("ErrImagePull".to_owned())
        );
        assert_eq!(of("Running", json!({"running": {}})), State::Running);
        assert_eq!(
            of("Running", json!({"terminated": {"exitCode": 1}})),
            State::Ended
        );
        assert_eq!(of("Failed", Value::Null), State::Ended);
    }
}
