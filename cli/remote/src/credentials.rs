//! Credentials that a program gives: `exec` of a user in the kubeconfig, by the rules of kubectl.
//!
//! The client's own way runs the program three times for each client and swallows what it says. Here it is run once, and
//! again only when its token has expired; a certificate is had once for a command. Invariant: whatever keeps the program
//! from giving credentials is told with its command line and its own words.

use crate::problem::{Kind, Problem};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, header};
use k8s_openapi::{ByteString, jiff};
use kube::client::{Body, ClientBuilder};
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use kube::{Client, Config};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{ErrorKind, IsTerminal};
use std::process::{Output, Stdio};
use std::sync::Arc;
use terminal::clock;
use tokio::process::Command;
use tokio::sync::Mutex;
use tower::BoxError;
use tower::buffer::BufferLayer;
use tower::filter::{AsyncFilterLayer, AsyncPredicate};

/// Requests that may wait for the connection.
const WAITING_REQUESTS: usize = 1024;

/// A token that lives shorter than this is not begun with.
const LEEWAY_SECONDS: u64 = 5;

/// A client of this configuration, with credentials by a program where it asks for them.
pub async fn client_of(mut config: Config) -> Result<Client, Problem> {
    let Some(plugin) = Plugin::of(&mut config.auth_info) else {
        return Client::try_from(config).map_err(|error| no_client(&error));
    };
    let given = plugin.run().await?;
    if let Some((certificate, key)) = &given.certificate {
        let of = |text: &str| {
            let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec()));
            encoded
                .ok()
                .and_then(|text| text.as_str().map(str::to_owned))
        };
        config.auth_info.client_certificate_data = of(certificate);
        config.auth_info.client_key_data = of(key).map(Into::into);
    }
    let has_token = given.token.is_some();
    let builder = ClientBuilder::try_from(config).map_err(|error| no_client(&error))?;
    if !has_token {
        return Ok(builder.build());
    }
    let tokens = Tokens {
        plugin: Arc::new(plugin),
        given: Arc::new(Mutex::new(given)),
    };
    let builder = builder
        .with_layer(&BufferLayer::new(WAITING_REQUESTS))
        .with_layer(&AsyncFilterLayer::new(tokens));
    Ok(builder.build())
}

fn no_client(error: &kube::Error) -> Problem {
    Problem::new(
        Kind::Unreachable,
        format!(
            "no client can be made for this cluster: {}",
            crate::problem::chain(error)
        ),
        "check certificates and keys of this context in the kubeconfig",
    )
}

/// A program that gives credentials.
#[derive(Debug)]
struct Plugin {
    exec: ExecConfig,
    /// As it would be typed.
    line: String,
}

/// What it gave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    token: Option<String>,
    /// And its key.
    certificate: Option<(String, String)>,
    expires_at_seconds: Option<u64>,
}

impl Plugin {
    /// The program of a user, unless what stands in the kubeconfig itself is enough.
    fn of(user: &mut AuthInfo) -> Option<Self> {
        if user.token.is_some() || user.token_file.is_some() || user.username.is_some() {
            return None;
        }
        let exec = user.exec.take()?;
        let words = exec.command.iter().chain(exec.args.iter().flatten());
        let line = words.map(String::as_str).collect::<Vec<_>>().join(" ");
        Some(Plugin { exec, line })
    }

    async fn run(&self) -> Result<Given, Problem> {
        let interactive = self.is_interactive(std::io::stdin().is_terminal())?;
        let output = self.output(interactive).await?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(self.problem(&format!("ended with {}", ending(&output)), &words));
        }
        eprint!("{words}");
        let text = String::from_utf8_lossy(&output.stdout);
        self.read(&text)
            .map_err(|said| self.problem(&format!("gave none: {said}"), &words))
    }

    /// Whether it may ask the person something.
    fn is_interactive(&self, has_terminal: bool) -> Result<bool, Problem> {
        match self.exec.interactive_mode {
            Some(ExecInteractiveMode::Never) => Ok(false),
            Some(ExecInteractiveMode::Always) if !has_terminal => Err(self.problem(
                "wants to ask you something, and standard input is no terminal",
                "",
            )),
            Some(ExecInteractiveMode::Always | ExecInteractiveMode::IfAvailable) | None => {
                Ok(has_terminal)
            }
        }
    }

    async fn output(&self, interactive: bool) -> Result<Output, Problem> {
        let Some(program) = self.exec.command.as_deref().filter(|name| !name.is_empty()) else {
            return Err(self.problem("no command is written there", ""));
        };
        let mut command = Command::new(program);
        command
            .args(self.exec.args.iter().flatten())
            .env(
                "KUBERNETES_EXEC_INFO",
                self.question(interactive).to_string(),
            )
            .stdin(if interactive {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .kill_on_drop(true);
        for variable in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        if interactive {
            // What it asks is to be seen at once.
            command.stderr(Stdio::inherit());
        }
        command.output().await.map_err(|error| {
            let mut problem = self.problem(&format!("cannot be started: {error}"), "");
            if error.kind() == ErrorKind::NotFound {
                let hint = self.exec.install_hint.as_deref().unwrap_or_default().trim();
                problem.remedy = match hint {
                    "" => format!(
                        "install {program}, or correct users[…].user.exec.command in the kubeconfig"
                    ),
                    hint => hint.to_owned(),
                };
            }
            problem
        })
    }

    /// What the program is told about us.
    fn question(&self, interactive: bool) -> Value {
        let mut question = json!({
            "apiVersion": self.exec.api_version,
            "kind": "ExecCredential",
            "spec": {"interactive": interactive},
        });
        if self.exec.provide_cluster_info {
            question["spec"]["cluster"] = json!(self.exec.cluster);
        }
        question
    }

    fn read(&self, text: &str) -> Result<Given, String> {
        let answer = contract::yaml::parse(text).map_err(|error| error.to_string())?;
        let version = self.exec.api_version.as_deref();
        if answer["apiVersion"].as_str() != version {
            return Err(format!(
                "the kubeconfig says apiVersion {}, its answer {}",
                version.unwrap_or("nothing"),
                answer["apiVersion"]
            ));
        }
        let status: Status = serde_json::from_value(answer["status"].clone())
            .map_err(|error| format!("its answer has no status: {error}"))?;
        let certificate = status.client_certificate_data.zip(status.client_key_data);
        if status.token.is_none() && certificate.is_none() {
            return Err("its answer has neither a token nor a certificate with its key".to_owned());
        }
        let expires = status.expiration_timestamp.as_deref().map(|text| {
            let at: jiff::Timestamp = text
                .parse()
                .map_err(|error| format!("its expirationTimestamp is no time: {error}"))?;
            Ok::<_, String>(u64::try_from(at.as_second()).unwrap_or_default())
        });
        Ok(Given {
            token: status.token,
            certificate,
            expires_at_seconds: expires.transpose()?,
        })
    }

    fn problem(&self, what: &str, words: &str) -> Problem {
        let words = match words.trim() {
            "" => String::new(),
            words => format!("\n{words}"),
        };
        Problem::new(
            Kind::Forbidden,
            format!(
                "the credentials of this context cannot be had: the command that is to give them, `{}`, {what}{words}",
                self.line
            ),
            "log in to your cluster once more, or run that command by hand to see what it wants; it stands in the kubeconfig under users[…].user.exec",
        )
    }
}

fn ending(output: &Output) -> String {
    match output.status.code() {
        Some(code) => format!("exit code {code}"),
        None => output.status.to_string(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// Gives each request the token, a new one where the last has expired.
#[derive(Debug, Clone)]
struct Tokens {
    plugin: Arc<Plugin>,
    given: Arc<Mutex<Given>>,
}

impl Tokens {
    async fn header(&self, now_seconds: u64) -> Result<HeaderValue, Problem> {
        let mut given = self.given.lock().await;
        let is_over = |at: u64| at <= now_seconds + LEEWAY_SECONDS;
        if given.expires_at_seconds.is_some_and(is_over) {
            *given = self.plugin.run().await?;
        }
        let token = given.token.as_deref().unwrap_or_default();
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| self.plugin.problem("gave a token that fits no header", ""))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl AsyncPredicate<Request<Body>> for Tokens {
    type Future = BoxFuture<'static, Result<Request<Body>, BoxError>>;
    type Request = Request<Body>;

    fn check(&mut self, mut request: Request<Body>) -> Self::Future {
        let tokens = self.clone();
        Box::pin(async move {
            let header = tokens.header(clock::now_seconds()).await?;
            request.headers_mut().insert(header::AUTHORIZATION, header);
            Ok(request)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(script: &str) -> Plugin {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", script],
            "env": [{"name": "WHO", "value": "me"}],
            "interactiveMode": "Never",
        });
        let mut user: AuthInfo = serde_json::from_value(json!({"exec": exec})).unwrap();
        Plugin::of(&mut user).unwrap()
    }

    /// A script that answers with a status.
    fn answers(status: &str) -> String {
        format!(
            "echo '{{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {status}}}'"
        )
    }

    #[tokio::test]
    async fn a_program_gives_a_token_or_a_certificate() {
        let token = plugin(&answers(
            r#"{"token": "t", "expirationTimestamp": "2026-11-21T12:00:00Z"}"#,
        ));
        let given = token.run().await.unwrap();
        assert_eq!(given.token.as_deref(), Some("t"));
        assert_eq!(given.expires_at_seconds, Some(1_795_262_400));
        let both = r#"{"clientCertificateData": "c", "clientKeyData": "k"}"#;
        let given = plugin(&answers(both)).run().await.unwrap();
        assert_eq!(given.certificate, Some(("c".to_owned(), "k".to_owned())));
    }

    #[tokio::test]
    async fn a_program_is_told_who_asks() {
        let script = r#"case "$WHO $KUBERNETES_EXEC_INFO" in *me*client.authentication.k8s.io/v1*interactive*false*) ;; *) echo "$KUBERNETES_EXEC_INFO" >&2; exit 1;; esac; "#;
        let asked = plugin(&(script.to_owned() + &answers(r#"{"token": "t"}"#)));
        asked.run().await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_fails_is_told_with_its_words() {
        let failing = plugin("echo 'your session has ended' >&2; exit 7");
        let problem = failing.run().await.unwrap_err();
        for told in ["`sh -c echo", "exit code 7", "\nyour session has ended"] {
            assert!(problem.said.contains(told), "{problem:?}");
        }
        assert!(problem.remedy.contains("log in"), "{problem:?}");
    }

    #[tokio::test]
    async fn an_answer_that_is_none_is_told() {
        for (script, told) in [
            ("echo hello", "apiVersion"),
            (
                "echo '{\"apiVersion\": \"client.authentication.k8s.io/v1beta1\"}'",
                "v1beta1",
            ),
            (answers("null").as_str(), "no status"),
            (answers("{}").as_str(), "neither a token nor"),
            (
                answers(r#"{"token": "t", "expirationTimestamp": "soon"}"#).as_str(),
                "no time",
            ),
        ] {
            let problem = plugin(script).run().await.unwrap_err();
            assert!(problem.said.contains(told), "{told}: {problem:?}");
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_with_how_to_get_it() {
        let mut missing = plugin("");
        missing.exec.command = Some("no-such-login".to_owned());
        let problem = missing.run().await.unwrap_err();
        assert!(
            problem.remedy.starts_with("install no-such-login"),
            "{problem:?}"
        );
        missing.exec.install_hint = Some("get it from the wiki\n".to_owned());
        assert_eq!(
            missing.run().await.unwrap_err().remedy,
            "get it from the wiki"
        );
    }

    #[test]
    fn who_must_ask_needs_a_terminal() {
        let mut asks = plugin("");
        asks.exec.interactive_mode = Some(ExecInteractiveMode::Always);
        assert!(asks.is_interactive(true).unwrap());
        assert!(
            asks.is_interactive(false)
                .unwrap_err()
                .said
                .contains("no terminal")
        );
        asks.exec.interactive_mode = None;
        assert!(!asks.is_interactive(false).unwrap());
    }

    #[tokio::test]
    async fn a_token_is_had_again_only_when_it_has_expired() {
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        let script = format!(
            "echo x >> {0}; {1}",
            count.display(),
            answers(r#"{"token": "t", "expirationTimestamp": "2026-11-21T12:00:00Z"}"#)
        );
        let plugin = plugin(&script);
        let given = Arc::new(Mutex::new(plugin.run().await.unwrap()));
        let tokens = Tokens {
            plugin: Arc::new(plugin),
            given,
        };
        let times = || std::fs::read_to_string(&count).unwrap().lines().count();
        let expires = 1_795_262_400;
        for now in [expires - 3600, expires - 60] {
            assert_eq!(tokens.header(now).await.unwrap(), "Bearer t");
        }
        assert_eq!(times(), 1);
        tokens.header(expires).await.unwrap();
        assert_eq!(times(), 2);
    }

    #[tokio::test]
    async fn a_program_that_fails_later_is_told_like_one_that_fails_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let first = directory.path().join("first");
        let over = answers(r#"{"token": "t", "expirationTimestamp": "1970-01-01T00:00:00Z"}"#);
        let script = format!(
            "if mkdir {}; then {over}; else echo 'your session has ended' >&2; exit 1; fi",
            first.display()
        );
        let mut config = Config::new("http://127.0.0.1:9".parse().unwrap());
        config.auth_info.exec = Some(plugin(&script).exec);
        let client = client_of(config).await.unwrap();
        let error = client.apiserver_version().await.unwrap_err();
        let call = crate::problem::Call {
            verb: "list",
            resource: crate::problem::JOBS,
            namespace: "team",
            name: "",
        };
        let problem = call.problem(error);
        assert_eq!(problem.kind, Kind::Forbidden);
        assert!(
            problem.said.contains("your session has ended"),
            "{problem:?}"
        );
    }
}
