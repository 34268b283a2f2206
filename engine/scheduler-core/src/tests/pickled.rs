//! Pickles of the scheduler's own exceptions, byte for byte. That Python opens them is shown in `tests/compat`.

use super::{Scene, graph, key};
use crate::pickles;
use protocol::Value;

#[test]
fn an_exception_is_its_class_called_with_its_arguments() {
    let pickle = pickles::exception("builtins", "RuntimeError", "gone");
    assert_eq!(
        pickle,
        b"\x80\x04\x8c\x08builtins\x8c\x0cRuntimeError\x93\x8c\x04gone\x85R."
    );
    let pickle = pickles::no_worker(&key("a"), 1.5);
    assert_eq!(
        pickle,
        b"\x80\x04\x8c\x15distributed.scheduler\x8c\x0dNoWorkerError\x93\x8c\x01aG?\xf8\0\0\0\0\0\0\x86R."
    );
}

#[test]
fn a_killed_task_names_the_worker_it_killed_last() {
    let mut scene = Scene::new();
    let client = scene.client();
    let first = scene.worker(1);
    scene.submit(client, graph(&[("a", &[])]));
    scene.loses(first);
    for _ in 0..3 {
        let next = scene.worker(1);
        scene.loses(next);
    }
    let error = scene.core.error_of(&key("a")).unwrap();
    let Value::Bin(pickle) = &error.exception else {
        panic!("{error:?}")
    };
    let holds = |text: &[u8]| pickle.windows(text.len()).any(|window| window == text);
    assert!(holds(b"KilledWorker") && holds(b"WorkerState") && holds(b"tcp://10.0.0.4:4000"));
}
