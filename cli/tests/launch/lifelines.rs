//! Lifelines: who is gone is missed, and a scheduler that nobody misses ends.

use crate::harness::{
    Dashboard, NO_PYTHON, Place, Running, Says, free_port, now, program, python, skip_unless,
};
use crate::schedulers::scheduler;
use rustix::process::Signal;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Long enough to see that something does not happen, with a timeout of a second.
const LONGER: Duration = Duration::from_millis(2500);

/// A launcher of a scheduler with a lifeline timeout of one second; its command ends when it is told to.
fn taker<'a>(place: &'a Place, port: u16, dashboard: &Dashboard) -> Running<'a> {
    let (port, dashboard) = (port.to_string(), dashboard.port.to_string());
    let flags = [
        "--lifeline-port",
        &port,
        "--lifeline-timeout",
        "1",
        "--dashboard-port",
        &dashboard,
    ];
    let running = place.start(place.launcher(&flags, &["sh", "-c", ": > ready; exec sleep 120"]));
    place.wait_for("ready");
    running
}

fn line(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

#[test]
fn an_idle_scheduler_ends_when_its_lifeline_stays_lost() {
    let (place, port, dashboard) = (Place::new(), free_port(), Dashboard::that(Says::Idle));
    let mut running = taker(&place, port, &dashboard);
    std::thread::sleep(LONGER);
    assert!(running.runs(), "before the first lifeline nothing is ended");
    let held = line(port);
    std::thread::sleep(LONGER);
    assert!(running.runs(), "a lifeline is held");
    drop(held);
    let lost = now();
    let ended = running.end();
    assert!(lost.elapsed() >= Duration::from_secs(1));
    assert_eq!((ended.code, ended.left.as_str()), (143, ""));
    assert!(
        ended
            .stderr
            .contains("the runner has been gone for 1 s and nothing runs"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_lifeline_that_comes_back_in_time_counts_as_never_lost() {
    let (place, port, dashboard) = (Place::new(), free_port(), Dashboard::that(Says::Idle));
    let mut running = taker(&place, port, &dashboard);
    for _ in 0..6 {
        drop(line(port));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(running.runs());
}

#[test]
fn two_lifelines_are_lost_when_both_are() {
    let (place, port, dashboard) = (Place::new(), free_port(), Dashboard::that(Says::Idle));
    let mut running = taker(&place, port, &dashboard);
    let (one, other) = (line(port), line(port));
    drop(one);
    std::thread::sleep(LONGER);
    assert!(running.runs());
    drop(other);
    assert_eq!(running.end().code, 143);
}

#[test]
fn a_scheduler_that_works_goes_on_until_it_is_idle() {
    let (place, port, dashboard) = (Place::new(), free_port(), Dashboard::that(Says::Busy));
    let mut running = taker(&place, port, &dashboard);
    drop(line(port));
    std::thread::sleep(LONGER + LONGER);
    assert!(running.runs());
    dashboard.now_says(Says::Idle);
    assert_eq!(running.end().code, 143);
}

#[test]
fn a_lifeline_that_comes_back_while_there_is_work_saves_the_scheduler() {
    let (place, port, dashboard) = (Place::new(), free_port(), Dashboard::that(Says::Busy));
    let mut running = taker(&place, port, &dashboard);
    drop(line(port));
    std::thread::sleep(LONGER);
    let _held = line(port);
    std::thread::sleep(Duration::from_millis(200));
    dashboard.now_says(Says::Idle);
    std::thread::sleep(LONGER);
    assert!(running.runs());
}

#[test]
fn a_scheduler_that_does_not_answer_ends_too() {
    // Nobody listens there at all, or somebody who never answers.
    let mut unreachable = Dashboard::that(Says::Nothing);
    unreachable.port = free_port();
    for dashboard in [unreachable, Dashboard::that(Says::Nothing)] {
        let (place, port) = (Place::new(), free_port());
        let running = taker(&place, port, &dashboard);
        drop(line(port));
        let ended = running.end();
        assert_eq!(ended.code, 143);
        assert!(
            ended.stderr.contains("the scheduler does not answer"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_command_that_does_not_care_is_killed_for_the_launchers_own_reasons() {
    let (place, port, dashboard) = (Place::new(), free_port(), Dashboard::that(Says::Idle));
    let (port_text, dashboard) = (port.to_string(), dashboard.port.to_string());
    let flags = [
        "--lifeline-port",
        &port_text,
        "--lifeline-timeout",
        "1",
        "--dashboard-port",
        &dashboard,
    ];
    let script = "trap '' TERM; : > ready; while :; do sleep 0.1; done";
    let running = place.start(place.launcher(&flags, &["sh", "-c", script]));
    place.wait_for("ready");
    drop(line(port));
    assert_eq!(running.end().code, 137);
}

#[test]
fn a_port_that_is_taken_is_an_ending_of_its_own() {
    let taken = TcpListener::bind("[::]:0")
        .or_else(|_| TcpListener::bind("0.0.0.0:0"))
        .unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let flags = ["--lifeline-port", &port, "--lifeline-timeout", "1"];
    let ended = Place::new().run(&flags, &["true"]);
    assert_eq!(ended.code, 70);
    assert!(
        ended
            .left
            .contains(&format!("cannot take lifelines on port {port}")),
        "{}",
        ended.left
    );
}

/// The whole chain with nobody to look after it: whatever kills the runner's launcher, all that is left ends by itself.
#[test]
fn without_a_runner_the_scheduler_ends_and_then_its_workers() {
    let python = python();
    skip_unless!(python.is_some(), NO_PYTHON);
    let python = python.unwrap();
    for stock in [false, true] {
        chain(&python, stock);
    }
}

fn chain(python: &str, stock: bool) {
    let [port, dashboard, lifeline] =
        [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let address = format!("tcp://127.0.0.1:{port}");
    let of_dask = ["-m", "distributed.cli.dask_scheduler"];
    let ours = [program(), "scheduler", "--python", python];
    let dashboard_address = format!("127.0.0.1:{dashboard}");
    let where_to = [
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--dashboard-address",
        &dashboard_address,
    ];

    let of_scheduler = Place::new();
    let mut flags = vec![
        "--lifeline-port",
        &lifeline,
        "--lifeline-timeout",
        "1",
        "--dashboard-port",
        &dashboard,
    ];
    let routes = contract::environment::STOCK_HTTP_ROUTES;
    let routes = format!("{}={}", routes.0, routes.1);
    let words = if stock {
        flags.extend(["--python-command", "--default-env", &routes]);
        [&of_dask[..], &where_to].concat()
    } else {
        [&ours[..], &where_to].concat()
    };
    let mut scheduler = of_scheduler.start(of_scheduler.launcher(&flags, &words));

    let of_worker = Place::new();
    let scratch = of_worker.file("scratch");
    let of_dask = ["-m", "distributed.cli.dask_worker"];
    let ours = [program(), "worker", "--python", python];
    let more = [
        &address,
        "--host",
        "127.0.0.1",
        "--no-dashboard",
        "--local-directory",
        &scratch,
    ];
    // Ours needs nobody to watch it.
    let (flags, words): (&[&str], _) = match stock {
        true => (
            &[
                "--scheduler",
                &address,
                "--start-beside",
                "--python-command",
            ],
            [&of_dask[..], &more].concat(),
        ),
        false => (&["--exec"], [&ours[..], &more].concat()),
    };
    let mut worker = of_worker.launcher(flags, &words);
    worker.env(contract::environment::PYTHON, python);
    let worker = of_worker.start(worker);

    let of_runner = Place::new();
    let script = "from distributed import Client
with Client() as client:
    client.wait_for_workers(1)
    client.submit(sum, [1, 2]).result()
    open('done', 'w').close()
    import time; time.sleep(120)";
    let flags = [
        "--scheduler",
        &address,
        "--hold-lifeline",
        &lifeline,
        "--python-command",
    ];
    let mut runner = of_runner.launcher(&flags, &["-c", script]);
    runner.env("DASK_SCHEDULER_ADDRESS", &address);
    let runner = of_runner.start(runner);
    of_runner.wait_for("done");
    assert!(scheduler.runs());
    // The launcher's command is killed with it in a container; here its client goes on and must not matter.
    runner.signal(Signal::KILL);
    let scheduler = scheduler.end();
    assert!(
        scheduler
            .stderr
            .contains("the runner has been gone for 1 s and nothing runs"),
        "{}",
        scheduler.stderr
    );
    worker.end();
}

#[test]
fn the_command_runs_under_a_lifeline_that_is_opened_again() {
    let python = python();
    skip_unless!(python.is_some(), NO_PYTHON);
    let (place, port) = (Place::new(), free_port());
    let _scheduler = scheduler(&place, port);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let lifeline = taken.local_addr().unwrap().port().to_string();
    let address = format!("tcp://127.0.0.1:{port}");
    let flags = ["--scheduler", &address, "--hold-lifeline", &lifeline];
    let script = ": > started; while [ ! -e done ]; do sleep 0.02; done; exit 14";
    let mut running = place.start(place.launcher(&flags, &["sh", "-c", script]));
    let (first, _) = taken.accept().unwrap();
    place.wait_for("started");
    drop(first);
    let (mut second, _) = taken.accept().unwrap();
    assert!(running.runs());
    std::fs::write(place.path().join("done"), "").unwrap();
    assert_eq!(running.end().code, 14);
    // Nothing was ever said, and it ends with the launcher.
    let mut said = Vec::new();
    let read = std::io::Read::read_to_end(&mut second, &mut said);
    assert_eq!((read.unwrap_or(0), said), (0, Vec::new()));
}

#[test]
fn a_lifeline_that_cannot_be_opened_does_not_hold_up_the_command() {
    let python = python();
    skip_unless!(python.is_some(), NO_PYTHON);
    let (place, port) = (Place::new(), free_port());
    let _scheduler = scheduler(&place, port);
    let address = format!("tcp://127.0.0.1:{port}");
    let lifeline = free_port().to_string();
    let ended = place.run(
        &["--scheduler", &address, "--hold-lifeline", &lifeline],
        &["sh", "-c", "exit 15"],
    );
    assert_eq!(ended.code, 15, "{ended:?}");
}
