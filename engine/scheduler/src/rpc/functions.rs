//! `run_function`: functions of users that run beside the scheduler, in a helper's Python.

use super::RpcError;
use crate::graph::GraphError;

impl From<GraphError> for RpcError {
    fn from(error: GraphError) -> Self {
        Self::Pickled {
            text: error.text,
            exception: error.exception,
            traceback: error.traceback,
        }
    }
}
