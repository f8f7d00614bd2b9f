//! A small API server: objects, lists, watches, leases, over plain HTTP/1.1. It can break its watches and forget their past.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

#[derive(Default)]
struct Shelf {
    version: u64,
    /// By path of the list, and name.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// What happened: version, path, event.
    history: Vec<(u64, String, Value)>,
    /// Watches from before this get 410 Gone.
    forgotten: u64,
    /// How often each list was asked for.
    lists: HashMap<String, usize>,
}

pub(crate) struct ApiServer {
    shelf: Arc<Mutex<Shelf>>,
    /// Changes with everything that watches have to see; the second part ends them.
    news: watch::Sender<(u64, u64)>,
    pub(crate) url: String,
    _serving: AbortOnDropHandle<()>,
}

impl ApiServer {
    pub(crate) async fn start() -> ApiServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shelf = Arc::new(Mutex::new(Shelf { version: 100, ..Shelf::default() }));
        let (news, seen) = watch::channel((0, 0));
        let shared = Arc::clone(&shelf);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared), seen.clone()));
            }
        });
        ApiServer { shelf, news, url, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Adds or changes an object.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut shelf = self.shelf.lock();
        shelf.version += 1;
        let version = shelf.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let known = shelf.objects.entry(path.to_owned()).or_default().insert(name, object.clone()).is_some();
        let kind = if known { "MODIFIED" } else { "ADDED" };
        shelf.history.push((version, path.to_owned(), json!({ "type": kind, "object": object })));
        drop(shelf);
        self.news.send_modify(|(news, _)| *news += 1);
    }

    pub(crate) fn delete(&self, path: &str, name: &str) {
        let mut shelf = self.shelf.lock();
        shelf.version += 1;
        let version = shelf.version;
        let mut object = shelf.objects.get_mut(path).unwrap().remove(name).unwrap();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        shelf.history.push((version, path.to_owned(), json!({ "type": "DELETED", "object": object })));
        drop(shelf);
        self.news.send_modify(|(news, _)| *news += 1);
    }

    /// Ends every watch in the middle.
    pub(crate) fn break_watches(&self) {
        self.news.send_modify(|(_, breaks)| *breaks += 1);
    }

    /// Whoever watches from before now has to list again.
    pub(crate) fn forget_the_past(&self) {
        let mut shelf = self.shelf.lock();
        shelf.version += 1;
        shelf.forgotten = shelf.version;
        shelf.history.clear();
    }

    pub(crate) fn lists(&self, path: &str) -> usize {
        self.shelf.lock().lists.get(path).copied().unwrap_or(0)
    }

    pub(crate) fn object(&self, path: &str, name: &str) -> Option<Value> {
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
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse::<usize>().unwrap()));
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
        chunk(stream, &gone).await?;
        stream.write_all(b"0\r\n\r\n").await.ok()?;
        return Some(());
    }
    loop {
        let events: Vec<(u64, Value)> = {
            let shelf = shelf.lock();
            let new = shelf.history.iter().filter(|(version, path, _)| *version > from && *path == asked.path);
            new.map(|(version, _, event)| (*version, event.clone())).collect()
        };
        for (version, event) in events {
            chunk(stream, &event).await?;
            from = version;
        }
        news.changed().await.ok()?;
        if news.borrow_and_update().1 != breaks {
            return None;
        }
    }
}

async fn chunk(stream: &mut BufReader<TcpStream>, event: &Value) -> Option<()> {
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
