//! What a job finds around it: modules beside the manifest, its files, its environment, its output passed on unchanged.

use crate::harness::{Place, need_python};

#[test]
fn a_module_beside_the_manifest_is_imported_by_program_and_workers() {
    need_python!();
    let place = Place::new();
    place.write("beside.py", "def answer(x):\n    return x + 40\n");
    let program = "from dask.distributed import Client; import beside; print(Client().submit(beside.answer, 2).result())";
    let finished = place.run_job(&format!("job: {{command: [python, -c, '{program}']}}"), &[]);
    assert_eq!(
        (finished.code, finished.text().as_str()),
        (0, "42\n"),
        "{}",
        finished.stderr
    );
    assert_eq!(
        place.beside_the_manifest(),
        ["beside.py", "job.yaml"],
        "nothing is written there"
    );
}

#[test]
fn a_preload_of_the_configuration_may_bring_a_plugin_that_watches_tasks() {
    need_python!();
    let spec = "
job:
  command: [python, main.py]
  files:
    main.py: |
      import pathlib, tempfile, time
      from dask.distributed import Client
      Client().submit(sum, [1, 2], key='watched').result()
      told = pathlib.Path(tempfile.gettempdir(), 'told')
      deadline = time.time() + 60
      while not told.exists() and time.time() < deadline:
          time.sleep(0.05)
      print(told.read_text())
    watching.py: |
      import pathlib, tempfile
      from distributed.diagnostics.plugin import WorkerPlugin
      class Watching(WorkerPlugin):
          def transition(self, key, start, finish, **kwargs):
              if finish == 'memory':
                  pathlib.Path(tempfile.gettempdir(), 'told').write_text(key)
      async def dask_setup(worker):
          await worker.plugin_add(Watching())
workers: {env: [{name: DASK_DISTRIBUTED__WORKER__PRELOAD, value: '[\"watching\"]'}]}
";
    let finished = Place::new().run_job(spec, &[]).expect(0);
    assert_eq!(finished.text(), "watched\n", "{}", finished.stderr);
}

#[test]
fn a_program_beside_the_manifest_is_run() {
    need_python!();
    let place = Place::new();
    place.write("main.py", "print('here')\n");
    let finished = place.run_job("job: {command: [python, main.py]}", &[]);
    assert_eq!(
        (finished.code, finished.text().as_str()),
        (0, "here\n"),
        "{}",
        finished.stderr
    );
}

#[test]
fn files_are_there_to_be_read_written_and_imported() {
    need_python!();
    let spec = "
job:
  command: [python, package/main.py]
  files:
    data.txt: hello
    package/main.py: |
      import os
      from dask.distributed import Client
      from package import helper
      assert open('data.txt').read() == 'hello'
      open('data.txt', 'w').write('changed')
      assert not os.path.isabs(__file__) or os.getcwd() in __file__
      print(Client().submit(helper.double, 4).result())
    package/__init__.py: ''
    package/helper.py: 'def double(x): return 2 * x'
";
    let finished = Place::new().run_job(spec, &[]);
    assert_eq!(
        (finished.code, finished.text().as_str()),
        (0, "8\n"),
        "{}",
        finished.stderr
    );
}

#[test]
fn output_passes_through_unchanged() {
    need_python!();
    let program = r"printf 'a\000b\377\r\nno end of line'; printf 'err\n' >&2";
    let place = Place::new();
    let finished = place.run_job(
        &format!(
            "job:\n  command: [sh, -c]\n  args:\n  - \"{}\"",
            program.replace('\\', r"\\")
        ),
        &["--no-progress"],
    );
    assert_eq!(finished.stdout, b"a\0b\xff\r\nno end of line");
    assert!(finished.stderr.contains("err\n"), "{}", finished.stderr);
}

#[test]
fn a_reader_that_stops_reading_is_a_broken_pipe_for_the_job() {
    need_python!();
    let place = Place::new();
    let manifest =
        place.manifest("job: {command: [sh, -c, 'while echo line; do :; done; exit 9']}");
    let mut child = place
        .command(&["run", manifest.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut output, &mut [0; 5]).unwrap();
    drop(output);
    let code = child.wait().unwrap().code();
    assert!(code == Some(141) || code == Some(9), "{code:?}");
    place.nothing_is_left("");
}

#[test]
fn the_environment_is_that_of_the_manifest() {
    need_python!();
    let spec = "
env: [{name: GREETING, value: hello}, {name: BOTH, value: all}]
job:
  command: [sh, -c, 'echo $GREETING $BOTH $1 $DASKJOB_NAME $DASKJOB_ROLE', sh, '$(BOTH)!']
  env: [{name: BOTH, value: job}]
";
    let finished = Place::new().run_job(spec, &[]);
    assert_eq!(
        finished.text(),
        "hello job job! job runner\n",
        "{}",
        finished.stderr
    );
}

#[test]
fn what_has_no_meaning_here_is_said() {
    need_python!();
    let finished = Place::new().run_job(
        "image: example.com/etl:1.4\nttlSecondsAfterFinished: 5\njob: {command: ['true']}",
        &[],
    );
    assert_eq!(finished.code, 0);
    assert!(
        finished.stderr.contains("note: image is ignored"),
        "{}",
        finished.stderr
    );
    assert!(
        finished
            .stderr
            .contains("note: ttlSecondsAfterFinished is ignored"),
        "{}",
        finished.stderr
    );
}

#[test]
fn logs_stay_where_they_are_asked_for() {
    need_python!();
    let place = Place::new();
    let logs = place.home().join("logs");
    let program = "from dask.distributed import Client; Client().wait_for_workers(1)";
    let finished = place.run_job(
        &format!("job: {{command: [python, -c, '{program}']}}"),
        &["--log-dir", logs.to_str().unwrap()],
    );
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    for log in ["scheduler.log", "job-1-worker-default-0.log"] {
        assert!(
            std::fs::metadata(logs.join("attempt-1").join(log))
                .unwrap()
                .len()
                > 0,
            "{log}"
        );
    }
}

#[test]
fn a_directory_is_kept_where_it_is_asked_for() {
    need_python!();
    let place = Place::new();
    let manifest =
        place.manifest("job: {command: [sh, -c, 'echo made > made.txt'], files: {a.txt: a}}");
    let output = place
        .command(&["run", manifest.to_str().unwrap(), "--keep"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, directory) = said
        .trim_end()
        .rsplit_once("the run's directory is ")
        .unwrap_or_else(|| panic!("{said}"));
    assert_eq!(
        std::fs::read_to_string(std::path::Path::new(directory).join("1/work/made.txt")).unwrap(),
        "made\n"
    );
    assert!(place.processes().is_empty(), "{:?}", place.processes());
}
