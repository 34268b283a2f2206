//! What happens to a worker: orders of the scheduler, answers of peers, of the executor and of the disk, and its status.

mod data;
mod executor;
mod orders;
mod peers;
mod replicas;
mod status;
