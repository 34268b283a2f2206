//! What the core can be told to do differently; names and defaults are those of `distributed.yaml`.

/// Whether invariants are walked after every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Costs nothing.
    Never,
    /// A full walk after every event: tests and simulations.
    EveryEvent,
}

/// Durations in seconds, sizes in bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// `scheduler.allowed-failures`
    pub allowed_failures: u32,
    /// `scheduler.bandwidth`
    pub bandwidth: f64,
    /// `scheduler.default-data-size`
    pub default_data_size: u64,
    /// `scheduler.events-cleanup-delay`
    pub events_cleanup_delay: f64,
    /// `scheduler.idle-timeout`
    pub idle_timeout: Option<f64>,
    /// `scheduler.no-workers-timeout`
    pub no_workers_timeout: Option<f64>,
    /// `scheduler.worker-saturation`; infinity switches queuing off
    pub worker_saturation: f64,
    /// `scheduler.rootish-taskgroup`
    pub rootish_taskgroup: usize,
    /// `scheduler.rootish-taskgroup-dependencies`
    pub rootish_taskgroup_dependencies: usize,
    /// `scheduler.worker-ttl`
    pub worker_ttl: Option<f64>,
    /// `scheduler.unknown-task-duration`
    pub unknown_task_duration: f64,
    /// `scheduler.default-task-durations`
    pub default_task_durations: Vec<(String, f64)>,
    /// `admin.low-level-log-length`: how many transitions and how many events of a topic are kept
    pub low_level_log_length: usize,
    /// `worker.memory.terminate` is not `false`: a task whose inputs cannot fit any worker is refused
    pub memory_terminate: bool,
    /// `worker.memory.recent-to-old-time`
    pub memory_recent_to_old_time: f64,
    /// `scheduler.active-memory-manager.interval`
    pub memory_manager_interval: f64,
    /// `adaptive.target-duration`
    pub adaptive_target_duration: f64,
}

impl Default for Config {
    fn default() -> Self {
        let named = |name: &str| (name.to_owned(), 1e-6);
        Self {
            allowed_failures: 3,
            bandwidth: 100e6,
            default_data_size: 1024,
            events_cleanup_delay: 3600.0,
            idle_timeout: None,
            no_workers_timeout: None,
            worker_saturation: 1.1,
            rootish_taskgroup: 5,
            rootish_taskgroup_dependencies: 5,
            worker_ttl: Some(300.0),
            unknown_task_duration: 0.5,
            default_task_durations: vec![
                named("rechunk-split"),
                named("split-shuffle"),
                named("split-taskshuffle"),
                named("split-stage"),
            ],
            low_level_log_length: 1000,
            memory_terminate: true,
            memory_recent_to_old_time: 30.0,
            memory_manager_interval: 2.0,
            adaptive_target_duration: 5.0,
        }
    }
}
