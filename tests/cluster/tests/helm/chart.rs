//! The chart, releases of it, and what is read of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use cluster::{
    Answer, Cluster, OPERATOR_IMAGE, TestNamespace, Tier, WORKER_IMAGE, on_cluster, on_fake_nodes,
};
use contract::yaml;
use serde_json::{Value, json};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/daskjob-operator");
const DEFINITION: &str = "chart/files/daskjob.dev_daskjobs.yaml";

/// The chart in a directory of the test's own, where its files may be changed.
pub struct Chart {
    directory: PathBuf,
    /// `metadata.name` of the definition in it.
    pub definition: String,
}

/// For names of files that no other test of this process has.
fn next_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Chart {
    /// A copy as it is.
    pub fn copied() -> Self {
        let directory = format!("daskjob-chart-{}-{}", std::process::id(), next_number());
        let directory = std::env::temp_dir().join(directory);
        copy(Path::new(CHART), &directory.join("chart"));
        Chart {
            directory,
            definition: "daskjobs.daskjob.dev".to_owned(),
        }
    }

    /// A copy that defines another kind, which no other test knows.
    pub fn with_own_definition(purpose: &str) -> Self {
        let mut chart = Chart::copied();
        let group = format!("{purpose}-{}.test", std::process::id());
        chart.change_definition(|text| {
            text.replace("daskjob.dev", &group)
                .replace("daskjobs", "chartjobs")
                .replace("singular: daskjob", "singular: chartjob")
                .replace("kind: DaskJob", "kind: ChartJob")
                .replace("    shortNames:\n    - dj\n", "")
        });
        chart.definition = format!("chartjobs.{group}");
        chart
    }

    pub fn change_definition(&self, change: impl FnOnce(&str) -> String) {
        let before = self.definition_text();
        let after = change(&before);
        assert_ne!(before, after, "the change changes something");
        let file = self.directory.join(DEFINITION);
        fs::write(file, after).expect("the definition can be written");
    }

    /// The definition as somebody has it who does not use Helm.
    pub fn definition_text(&self) -> String {
        let file = self.directory.join(DEFINITION);
        fs::read_to_string(file).expect("the definition can be read")
    }

    pub fn path(&self) -> String {
        self.directory.join("chart").display().to_string()
    }

    /// Removes the kind that is the test's own.
    pub fn undefine(&self, cluster: &Cluster) {
        assert_ne!(self.definition, "daskjobs.daskjob.dev", "it is everybody's");
        let delete = ["delete", "crd", &self.definition, "--ignore-not-found"];
        cluster.kubectl(&delete, "").expect_success();
    }

    /// A file with values, for `--values`.
    pub fn values(&self, values: &Value) -> String {
        let file = self.directory.join(format!("{}.json", next_number()));
        fs::write(&file, values.to_string()).expect("a file can be written");
        file.display().to_string()
    }

    /// `helm template`, which asks no cluster.
    pub fn render(&self, cluster: &Cluster, namespace: &str, values: &Value) -> Answer {
        let (path, values) = (self.path(), self.values(values));
        let version = kubernetes(cluster);
        let arguments = ["template", "rendered", &path, "--namespace", namespace];
        let more = ["--kube-version", &version, "--values", &values];
        cluster.run("helm", &[&arguments[..], &more].concat())
    }
}

/// The release of the cluster, which Helm would ask it for.
pub fn kubernetes(cluster: &Cluster) -> String {
    let version = cluster.kubectl(&["version", "--output=json"], "");
    let version: Value = serde_json::from_str(&version.expect_success()).expect("JSON");
    let version = version["serverVersion"]["gitVersion"].as_str();
    version.expect("a server has a version").to_owned()
}

impl Drop for Chart {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("the chart can be listed") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).expect("a file can be copied");
        }
    }
}

/// All objects of a text of manifests.
pub fn objects(text: &str) -> Vec<Value> {
    let documents = yaml::parse_documents(text).expect("it is YAML");
    documents.into_iter().map(|(_, object)| object).collect()
}

pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|each| each["kind"] == kind).collect()
}

/// The only object of a kind.
pub fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    match of_kind(objects, kind)[..] {
        [one] => one,
        ref several => panic!("{} objects of kind {kind}", several.len()),
    }
}

/// Values for the real node, with the images that are there.
pub fn on_the_node(namespaces: &[&str]) -> Value {
    let image = |reference: &str| {
        let (repository, tag) = reference.rsplit_once(':').expect("it has a tag");
        json!({"repository": repository, "tag": tag})
    };
    json!({
        "image": image(OPERATOR_IMAGE),
        "workerImage": image(WORKER_IMAGE),
        "watchNamespaces": namespaces,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "topologySpreadConstraints": [],
    })
}

/// Values for nodes on which everything is ready at once and nothing runs.
pub fn on_no_node(namespaces: &[&str]) -> Value {
    let placement = on_fake_nodes();
    json!({
        "watchNamespaces": namespaces,
        "nodeSelector": placement["nodeSelector"],
        "tolerations": placement["tolerations"],
    })
}

/// A release for the real node that is not installed yet, in a namespace of its own whose jobs it is to run.
pub struct OnTheNode<'a> {
    pub cluster: &'a Cluster,
    pub chart: Chart,
    pub release: Release<'a>,
    pub values: Value,
    /// `daskjob`, as it is in the images.
    pub program: PathBuf,
}

/// A release in a namespace. It is uninstalled when its test has passed.
pub struct Release<'a> {
    cluster: &'a Cluster,
    pub name: String,
    pub namespace: String,
}

impl<'a> Release<'a> {
    pub fn new(cluster: &'a Cluster, name: &str, namespace: &TestNamespace<'_>) -> Self {
        Release {
            cluster,
            name: name.to_owned(),
            namespace: namespace.name().to_owned(),
        }
    }

    /// Runs a test with a release for the real node; release and namespace are named for what it is about.
    pub fn on_the_node(purpose: &str, test: impl AsyncFnOnce(OnTheNode<'_>)) {
        on_cluster(Tier::Node, async |cluster| {
            cluster.install_definitions();
            let program = cluster.install_images();
            let namespace = cluster.namespace(purpose).await;
            test(OnTheNode {
                cluster: &cluster,
                chart: Chart::copied(),
                release: Release::new(&cluster, purpose, &namespace),
                values: on_the_node(&[namespace.name()]),
                program,
            })
            .await;
        });
    }

    /// A command of Helm about this release.
    pub fn helm(&self, command: &str, more: &[&str]) -> Answer {
        let arguments = [command, &self.name, "--namespace", &self.namespace];
        self.cluster
            .run("helm", &[&arguments[..2], more, &arguments[2..]].concat())
    }

    fn with_values(&self, command: &str, chart: &Chart, values: &Value) -> Answer {
        let (path, values) = (chart.path(), chart.values(values));
        let wait = ["--wait", "--timeout", "3m"];
        self.helm(
            command,
            &[&[path.as_str(), "--values", &values][..], &wait].concat(),
        )
    }

    pub fn install(&self, chart: &Chart, values: &Value) -> Answer {
        self.with_values("install", chart, values)
    }

    /// Without the definition, which need not be looked at.
    #[track_caller]
    pub fn install_without_definition(&self, chart: &Chart, values: &Value) {
        let mut values = values.clone();
        values["crds"] = json!({"install": false});
        self.install(chart, &values).expect_success();
    }

    pub fn upgrade(&self, chart: &Chart, values: &Value) -> Answer {
        self.with_values("upgrade", chart, values)
    }

    pub fn uninstall(&self) -> Answer {
        self.helm("uninstall", &["--wait", "--timeout", "3m"])
    }

    /// Whether the definition is among what Helm looks after.
    pub fn has_definition(&self) -> bool {
        let manifest = [
            "get",
            "manifest",
            &self.name,
            "--namespace",
            &self.namespace,
        ];
        let manifest = self.cluster.run("helm", &manifest).expect_success();
        !of_kind(&objects(&manifest), "CustomResourceDefinition").is_empty()
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments = [arguments, &["--namespace", &self.namespace]].concat();
        self.cluster.kubectl(&arguments, "").expect_success()
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.helm("uninstall", &["--ignore-not-found", "--wait"]);
        }
    }
}
