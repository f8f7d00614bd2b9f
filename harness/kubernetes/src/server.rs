//! Objects, lists, watches, leases over plain HTTP/1.1. Watches can be broken, and their past forgotten.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Changes that watches can still ask for. The oldest go, and who watches from before them lists again.
const CHANGES_MAX: usize = 100_000;
/// Whoever sends a longer head is no client of ours.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Something that happened to an object.
struct Happened {
    version: u64,
    /// Of its list.
    path: Arc<str>,
    /// As watches are told it.
    line: Arc<str>,
}

#[derive(Default)]
struct Shelf {
    version: u64,
    /// By path of the list, and name.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    history: VecDeque<Happened>,
    /// Watches from before this get 410 Gone.
    forgotten: u64,
    /// How often each list was asked for.
    lists: HashMap<String, usize>,
}

impl Shelf {
    fn happened(&mut self, path: &str, kind: &str, object: &Value) {
        let line = json!({ "type": kind, "object": object }).to_string();
        self.history.push_back(Happened { version: self.version, path: path.into(), line: line.into() });
        if self.history.len() > CHANGES_MAX
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.version;
        }
    }

    /// What happened to a list after a version.
    fn after(&self, version: u64, path: &str) -> Vec<Arc<str>> {
        let first = self.history.partition_point(|happened| happened.version <= version);
        let of_path = self.history.range(first..).filter(|happened| happened.path.as_ref() == path);
        of_path.map(|happened| Arc::clone(&happened.line)).collect()
    }
}

/// The server. It is gone when it is dropped.
pub struct ApiServer {
    shelf: Arc<Mutex<Shelf>>,
    /// Changes with everything that watches have to see; the second part ends them.
    news: watch::Sender<(u64, u64)>,
    /// Where it is.
    pub url: String,
    _serving: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl ApiServer {
    /// On a free port of loopback.
    ///
    /// # Errors
    /// There is none.
    pub async fn start() -> io::Result<ApiServer> {
        ApiServer::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// At an address; port 0: any.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub async fn listen(address: SocketAddr) -> io::Result<ApiServer> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shelf = Arc::new(Mutex::new(Shelf { version: 100, ..Shelf::default() }));
        let (news, seen) = watch::channel((0, 0));
        let shared = Arc::clone(&shelf);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream, Arc::clone(&shared), seen.clone()));
            }
        });
        Ok(ApiServer { shelf, news, url, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Adds or changes an object, which `metadata.name` tells from others of its list.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut shelf = self.shelf.lock();
        shelf.version += 1;
        object["metadata"]["resourceVersion"] = json!(shelf.version.to_string());
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let known = shelf.objects.entry(path.to_owned()).or_default().insert(name, object.clone()).is_some();
        shelf.happened(path, if known { "MODIFIED" } else { "ADDED" }, &object);
        drop(shelf);
        self.news.send_modify(|(news, _)| *news += 1);
    }

    /// Deletes an object. Whether it was there.
    pub fn delete(&self, path: &str, name: &str) -> bool {
        let mut shelf = self.shelf.lock();
        let Some(mut object) = shelf.objects.get_mut(path).and_then(|objects| objects.remove(name)) else { return false };
        shelf.version += 1;
        object["metadata"]["resourceVersion"] = json!(shelf.version.to_string());
        shelf.happened(path, "DELETED", &object);
        drop(shelf);
        self.news.send_modify(|(news, _)| *news += 1);
        true
    }

    /// Ends every watch in the middle.
    pub fn break_watches(&self) {
        self.news.send_modify(|(_, breaks)| *breaks += 1);
    }

    /// Whoever watches from before now has to list again.
    pub fn forget_the_past(&self) {
        let mut shelf = self.shelf.lock();
        shelf.version += 1;
        shelf.forgotten = shelf.version;
        shelf.history.clear();
    }

    /// How often a list was asked for.
    pub fn lists(&self, path: &str) -> usize {
        self.shelf.lock().lists.get(path).copied().unwrap_or(0)
    }

    /// An object as it is now.
    pub fn object(&self, path: &str, name: &str) -> Option<Value> {
        self.shelf.lock().objects.get(path)?.get(name).cloned()
    }
}

struct Asked {
    method: String,
    path: String,
    query: HashMap<String, String>,
    body: Vec<u8>,
}

/// `None`: the peer is gone.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").and_then(|n| n.trim().parse::<usize>().ok()));
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
    Some(Asked { method, path: path.to_owned(), query: query.collect(), body })
}

async fn answer(stream: &mut BufReader<TcpStream>, code: u16, body: &Value) -> Option<()> {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code })
}

async fn serve(stream: TcpStream, shelf: Arc<Mutex<Shelf>>, mut news: watch::Receiver<(u64, u64)>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream).await {
        let done = if asked.path.contains("/leases") {
            let (code, body) = lease(&mut shelf.lock(), &asked);
            answer(&mut stream, code, &body).await
        } else if asked.query.get("watch").is_some_and(|watch| watch == "true") {
            follow(&mut stream, &shelf, &asked, &mut news).await
        } else {
            let list = list(&mut shelf.lock(), &asked.path);
            answer(&mut stream, 200, &list).await
        };
        if done.is_none() {
            return;
        }
    }
}

fn list(shelf: &mut Shelf, path: &str) -> Value {
    *shelf.lists.entry(path.to_owned()).or_default() += 1;
    let items: Vec<Value> = shelf.objects.get(path).map(|objects| objects.values().cloned().collect()).unwrap_or_default();
    json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": shelf.version.to_string() }, "items": items })
}

/// Always ends with the connection.
async fn follow(
    stream: &mut BufReader<TcpStream>,
    shelf: &Mutex<Shelf>,
    asked: &Asked,
    news: &mut watch::Receiver<(u64, u64)>,
) -> Option<()> {
    let mut from: u64 = asked.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let breaks = news.borrow_and_update().1;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok()?;
    if from < shelf.lock().forgotten {
        let gone = json!({ "type": "ERROR", "object": status(410, "Expired") });
        chunk(stream, &gone.to_string()).await?;
        stream.write_all(b"0\r\n\r\n").await.ok()?;
        return Some(());
    }
    loop {
        let events = {
            let shelf = shelf.lock();
            let events = shelf.after(from, &asked.path);
            // The changes of other lists are not looked at again.
            from = shelf.version;
            events
        };
        for event in events {
            chunk(stream, &event).await?;
        }
        news.changed().await.ok()?;
        if news.borrow_and_update().1 != breaks {
            return None;
        }
    }
}

async fn chunk(stream: &mut BufReader<TcpStream>, event: &str) -> Option<()> {
    let line = format!("{event}\n");
    stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.ok()
}

/// Leases are written only in the version that was read.
fn lease(shelf: &mut Shelf, asked: &Asked) -> (u16, Value) {
    let (path, name) = match asked.path.split_once("/leases/") {
        Some((before, name)) => (format!("{before}/leases"), name.to_owned()),
        None => (asked.path.clone(), String::new()),
    };
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let known = |shelf: &Shelf, name: &str| shelf.objects.get(&path).and_then(|leases| leases.get(name)).cloned();
    let name = if name.is_empty() { body["metadata"]["name"].as_str().unwrap_or_default().to_owned() } else { name };
    let before = known(shelf, &name);
    match (asked.method.as_str(), before) {
        ("GET", Some(lease)) => (200, lease),
        ("POST", Some(_)) => (409, status(409, "AlreadyExists")),
        ("PUT", Some(before)) if before["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] => {
            (409, status(409, "Conflict"))
        }
        ("GET" | "PUT", None) => (404, status(404, "NotFound")),
        (_, _) => {
            shelf.version += 1;
            let mut lease = body;
            lease["metadata"]["resourceVersion"] = json!(shelf.version.to_string());
            shelf.objects.entry(path).or_default().insert(name, lease.clone());
            (200, lease)
        }
    }
}
