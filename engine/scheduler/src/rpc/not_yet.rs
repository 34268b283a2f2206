//! Operations that stock Dask has and this scheduler does not have yet: each answers with an error that names it.
//!
//! Peer-to-peer shuffles are refused in the first task that asks for one, in the way in which a stock worker passes the
//! reason on to the user unchanged, together with the setting that avoids them.

use super::RpcError;
use protocol::Value;

/// By what a user would call the feature.
const FEATURES: &[(&str, &[&str])] = &[
    (
        "profiling",
        &[
            "profile",
            "performance_report",
            "feed",
            "memory_sampler_start",
            "memory_sampler_stop",
        ],
    ),
    (
        "the task stream",
        &["get_task_stream", "get_task_stream_index"],
    ),
    (
        "cluster dumps",
        &[
            "get_cluster_state",
            "dump_cluster_state_to_url",
            "dump_state",
        ],
    ),
    (
        "published datasets",
        &[
            "publish_put",
            "publish_get",
            "publish_delete",
            "publish_list",
            // Up to 2026.3.
            "publish_wait_flush",
        ],
    ),
    ("Variable", &["variable_set", "variable_get"]),
    (
        "Queue",
        &["queue_create", "queue_put", "queue_get", "queue_qsize"],
    ),
    (
        "Event",
        &["event_wait", "event_set", "event_clear", "event_is_set"],
    ),
    (
        "Lock and Semaphore",
        &[
            "semaphore_register",
            "semaphore_acquire",
            "semaphore_release",
            "semaphore_close",
            "semaphore_refresh_leases",
            "semaphore_value",
        ],
    ),
    ("MultiLock", &["multi_lock_acquire", "multi_lock_release"]),
];

const SHUFFLE_OPERATIONS: &[&str] = &[
    "shuffle_get",
    "shuffle_get_or_create",
    "shuffle_barrier",
    "shuffle_restrict_task",
];

/// The refusal of `op`, or `None` when stock does not know it either.
pub fn answer(op: &str) -> Option<Result<Value, RpcError>> {
    if SHUFFLE_OPERATIONS.contains(&op) {
        return Some(Ok(no_shuffle(op)));
    }
    let (feature, _) = FEATURES
        .iter()
        .find(|(_, operations)| operations.contains(&op))?;
    Some(Err(refusal(op, feature)))
}

/// What is asked for, by the name of the operation and by what a user would call it.
pub fn refusal(operation: &str, feature: &str) -> RpcError {
    RpcError::builtin(
        "NotImplementedError",
        format!(
            "{operation} ({feature}) is not available in this version of the daskjob scheduler yet; `engine: dask` \
             in a job, or distributed.LocalCluster in Python, has it"
        ),
    )
}

/// An answer rather than an exception: of all classes only this one reaches the user as it is.
fn no_shuffle(op: &str) -> Value {
    RpcError::Exception {
        module: "distributed.shuffle._exceptions",
        class: "P2PConsistencyError",
        message: format!(
            "{op}: peer-to-peer (p2p) shuffles and rechunks are not available in this version of the daskjob scheduler \
             yet; set `dataframe.shuffle.method` and `array.rechunk.method` to `tasks` in the Dask configuration of the \
             client, for instance dask.config.set({{'dataframe.shuffle.method': 'tasks', 'array.rechunk.method': \
             'tasks'}})"
        ),
    }
    .message("error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stock_has_is_refused_by_name() {
        let error = answer("queue_put").unwrap().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("NotImplementedError: queue_put (Queue) is not available")
        );
    }

    #[test]
    fn what_stock_does_not_know_is_not_ours_to_refuse() {
        assert!(answer("upload_file").is_none());
    }

    #[test]
    fn a_shuffle_is_refused_with_the_setting_that_avoids_it() {
        let answer = answer("shuffle_get_or_create").unwrap().unwrap();
        assert!(answer.get("status").unwrap().is_str("error"));
        let text = answer.get("exception_text").unwrap().as_str().unwrap();
        assert!(text.contains("dataframe.shuffle.method"), "{text}");
    }
}
