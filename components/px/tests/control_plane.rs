//! What `px` prints of clusters and keys, over the real control plane.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser as _;
use service::Shell;

const SOON: Duration = Duration::from_secs(30);

struct Plane {
    folder: tempfile::TempDir,
    address: String,
    shell: Shell,
    serving: tokio::task::JoinHandle<Result<(), cloud::Error>>,
}

impl Plane {
    async fn start() -> Plane {
        let folder = tempfile::tempdir().unwrap();
        let (state, ready) = (folder.path().join("state"), folder.path().join("ready"));
        let words = ["cloud", "serve", "--tls", "--listen", "127.0.0.1:0"].map(str::to_owned);
        let paths = [("--state-dir", &state), ("--ready-file", &ready)];
        let paths = paths.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.to_str().unwrap().to_owned()]);
        let args = cloud::Args::parse_from(words.into_iter().chain(paths));
        let shell = Shell::default();
        let serving = tokio::spawn(cloud::run(args, shell.clone()));
        let waiting = async {
            loop {
                match std::fs::read_to_string(&ready) {
                    Ok(text) if text.ends_with('\n') => return text.trim().rsplit_once(':').unwrap().1.to_owned(),
                    Ok(_) | Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let port = tokio::time::timeout(SOON, waiting).await.unwrap();
        Plane { folder, address: format!("localhost:{port}"), shell, serving }
    }

    /// An API key, as the control plane's own command makes it.
    async fn api_key(&self) -> String {
        let state = self.folder.path().join("state");
        let words = ["cloud", "key", "create", "--kind", "api", "--short", "--state-dir", state.to_str().unwrap()];
        let cloud::Command::Key(command) = cloud::Args::parse_from(words).command else { unreachable!("it is one") };
        cloud::key(command).await.unwrap().trim().to_owned()
    }

    fn px(&self, key: Option<&str>, words: &[&str]) -> (i32, String, String) {
        let ca = self.folder.path().join("state/tls/ca.crt");
        let mut command = Command::new(env!("CARGO_BIN_EXE_px"));
        command
            .args(words)
            .env_clear()
            .env("PX_CLOUD_ADDR", &self.address)
            .env("PX_CONFIG_DIR", self.folder.path().join("config"))
            .env("PX_TLS_CA", ca)
            .stdin(Stdio::null());
        if let Some(key) = key {
            command.env("PX_API_KEY", key);
        }
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    async fn stop(self) {
        self.shell.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_looked_up_and_deleted() {
    let plane = Plane::start().await;
    let api = plane.api_key().await;
    let (code, out, err) = plane.px(Some(&api), &["deploy-key", "create", "-d", "for ci"]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    let (id, key) = (lines[1].strip_prefix("ID: ").unwrap(), lines[2].strip_prefix("Key: ").unwrap());
    assert_eq!((lines[0], key.starts_with("px-dep-")), ("Generated deployment key:", true));
    let (_, listed, _) = plane.px(Some(&api), &["deploy-key", "list"]);
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
    assert_eq!((row[0], row[1], row[3]), (id, "<hidden>", "for ci"));
    let (_, found, _) = plane.px(Some(&api), &["deploy-key", "lookup", "-k", key]);
    assert!(found.contains(id) && found.contains(key));
    assert_eq!(plane.px(Some(&api), &["deploy-key", "delete", "-i", id]).1, "Successfully deleted deployment key\n");
    let (code, _, err) = plane.px(Some(&api), &["deploy-key", "delete", "-i", id]);
    assert_eq!((code, err), (1, format!("error: {}: there is no such key\n", plane.address)));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_kept_until_it_is_forgotten() {
    let plane = Plane::start().await;
    let api = plane.api_key().await;
    let (code, _, err) = plane.px(None, &["get", "viziers"]);
    assert_eq!((code, err.contains("not logged in")), (1, true), "{err}");
    let (code, out, err) = plane.px(Some(&api), &["auth", "login"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with(&format!("Logged in at {} for organisation default.", plane.address)), "{out}");
    let (code, out, err) = plane.px(None, &["get", "viziers"]);
    assert_eq!((code, out.lines().count()), (0, 1), "{err}");
    let (code, _, err) = plane.px(None, &["run", "px/http_data"]);
    assert_eq!((code, err), (1, format!("error: {} knows no healthy cluster; there are: none\n", plane.address)));
    plane.px(None, &["auth", "logout"]);
    assert_eq!(plane.px(None, &["get", "viziers"]).0, 1);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_none_is_said_with_what_to_do() {
    let plane = Plane::start().await;
    let (code, _, err) = plane.px(Some("px-api-00000000-0000-4000-8000-000000000000"), &["get", "viziers"]);
    assert_eq!(code, 1);
    assert_eq!(
        err,
        format!(
            "error: {}: the call carries no valid token\nGive an API key with --api-key or PX_API_KEY, or log in again with `px auth login`.\n",
            plane.address
        )
    );
    plane.stop().await;
}
