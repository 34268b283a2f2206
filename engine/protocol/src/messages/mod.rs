//! Messages whose shape is known: read straight from frame 0, without a [`Value`](crate::Value) in between.
//!
//! Lenient where stock Dask is (extra fields, missing optional ones), strict about types: the error names op and field.

mod client;
mod fields;
mod handshake;
mod rpc;
mod scheduler;
mod status;
mod worker;
mod worker_encode;

pub use client::{
    Actors, CancelKeys, ClientKeys, FromClient, ReportKey, Topic, UpdateData, UpdateGraph,
    decode_client_batch,
};
pub use handshake::{Handshake, HandshakeError};
pub use rpc::{Request, RequestError, error_reply, pickled_error_reply};
pub use scheduler::{
    ComputeTask, FromScheduler, KeyOrder, KeysOrder, Priority, Replica, Replicas, StatusOrder,
    WorkerGone, decode_scheduler_batch,
};
pub use status::WorkerStatus;
pub use worker::{
    Action, AddKeys, FromWorker, KeyEvent, LogEvent, LongRunning, StartStop, StealResponse,
    TaskErred, TaskFinished, WorkerStatusChange, decode_worker_batch,
};
pub use worker_encode::encode_worker_batch;
