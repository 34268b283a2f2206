//! What a job finds around it: modules beside the manifest, its files, its environment.

use crate::harness::{Place, finished, need_python};

#[test]
fn a_module_beside_the_manifest_is_imported_by_program_and_workers() {
    need_python!();
    let place = Place::new();
    place.write("beside.py", "def answer(x):\n    return x + 40\n");
    let program = "from dask.distributed import Client; import beside; print(Client().submit(beside.answer, 2).result())";
    place
        .run_job(&format!("job: {{command: [python, -c, '{program}']}}"), &[])
        .expect_printed("42\n");
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
    Place::new().run_job(spec, &[]).expect_printed("watched\n");
}

#[test]
fn a_program_beside_the_manifest_is_run() {
    need_python!();
    let place = Place::new();
    place.write("main.py", "print('here')\n");
    place
        .run_job("job: {command: [python, main.py]}", &[])
        .expect_printed("here\n");
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
    Place::new().run_job(spec, &[]).expect_printed("8\n");
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
    Place::new()
        .run_job(spec, &[])
        .expect_printed("hello job job! job runner\n");
}

#[test]
fn what_the_shell_has_for_a_secret_is_expanded() {
    need_python!();
    let place = Place::new();
    let spec = "
env:
- {name: TOKEN, valueFrom: {secretKeyRef: {name: a, key: b}}}
- {name: HEADER, value: 'Bearer $(TOKEN)'}
job: {command: [sh, -c, 'echo $HEADER $1', sh, '$(TOKEN)!']}
";
    let output = place.run_command(spec).env("TOKEN", "s3").output().unwrap();
    finished(output).expect_printed("Bearer s3 s3!\n");
}

#[test]
fn what_has_no_meaning_here_is_said() {
    need_python!();
    let finished = Place::new().run_job(
        "image: example.com/etl:1.4\nttlSecondsAfterFinished: 5\njob: {command: ['true']}",
        &[],
    );
    let finished = finished.expect(0);
    finished.expect_said("note: image is ignored");
    finished.expect_said("note: ttlSecondsAfterFinished is ignored");
}

#[test]
fn logs_stay_where_they_are_asked_for() {
    need_python!();
    let place = Place::new();
    let logs = place.home().join("logs");
    let program = "from dask.distributed import Client; Client().wait_for_workers(1)";
    let spec = format!("job: {{command: [python, -c, '{program}']}}");
    place
        .run_job(&spec, &["--log-dir", logs.to_str().unwrap()])
        .expect(0);
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
