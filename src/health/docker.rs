//! Scripts in a container: the engine runs a command (`exec`) and tells how it ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf as _;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use serde::Deserialize;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::gotext::call_error;
use super::http::{ask, failure, read_body};
use super::net::{self, Stream};
use super::output::Tail;
use super::script::timed_out;
use super::{Outcome, Settings};

/// Answers about an exec, and texts of refusals, read at most, in bytes.
const MOST_ANSWER: usize = 64 * 1024;

/// Runs a command in a container.
#[derive(Debug)]
pub(super) struct DockerProbe {
    /// Id or name.
    pub container: String,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Time limit for all of it. The command in the container is not ended by it: the engine cannot.
    pub limit: Duration,
    /// Bytes of output kept.
    pub output_max_size: usize,
    /// Where the engine is.
    pub settings: Arc<Settings>,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

#[derive(Deserialize)]
struct Inspected {
    /// None while it runs.
    #[serde(rename = "ExitCode")]
    exit_code: Option<i64>,
}

impl DockerProbe {
    /// One look.
    pub async fn run(&self) -> Outcome {
        match timeout(self.limit, self.exec()).await {
            Err(_) => Outcome::critical(timed_out(self.limit)),
            Ok(Err(text)) => Outcome::critical(text),
            Ok(Ok((code, tail))) => {
                let output = tail.into_marked_text();
                match code {
                    0 => Outcome::passing(output),
                    1 => Outcome::warning(output),
                    _ => Outcome::critical(output),
                }
            }
        }
    }

    async fn exec(&self) -> Result<(i64, Tail), String> {
        let container = &self.container;
        let id = self.create().await?;
        let output = self.start(&id).await?;
        let (status, answer) = self
            .call("GET", &format!("/exec/{id}/json"), String::new(), MOST_ANSWER, Plain::Text)
            .await
            .map_err(|error| format!("inspect exec failed for container {container}: {error}"))?;
        let answer = answer.into_text();
        match status {
            200 => {}
            404 => {
                return Err(format!("inspect exec failed for container {container}: invalid exec id {id}"));
            }
            _ => {
                return Err(format!(
                    "inspect exec failed for container {container} with status {status}: {answer}"
                ));
            }
        }
        let inspected: Inspected = serde_json::from_str(&answer).map_err(|error| {
            format!("inspect exec response for container {container} cannot be parsed: {error}")
        })?;
        Ok((inspected.exit_code.unwrap_or_default(), output))
    }

    async fn create(&self) -> Result<String, String> {
        let container = &self.container;
        let name: String = url::form_urlencoded::byte_serialize(container.as_bytes()).collect();
        let body = json!({
            "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": self.args,
        });
        let (status, answer) = self
            .call("POST", &format!("/containers/{name}/exec"), body.to_string(), MOST_ANSWER, Plain::Text)
            .await
            .map_err(|error| format!("create exec failed for container {container}: {error}"))?;
        let answer = answer.into_text();
        match status {
            201 => serde_json::from_str::<Created>(&answer).map(|created| created.id).map_err(|error| {
                format!("create exec response for container {container} cannot be parsed: {error}")
            }),
            404 => Err(format!("create exec failed for unknown container {container}")),
            409 => Err(format!("create exec failed since container {container} is paused or stopped")),
            _ => Err(format!("create exec failed for container {container} with status {status}: {answer}")),
        }
    }

    async fn start(&self, id: &str) -> Result<Tail, String> {
        let container = &self.container;
        let body = json!({ "Detach": false, "Tty": false }).to_string();
        let (status, output) = self
            .call("POST", &format!("/exec/{id}/start"), body, self.output_max_size, Plain::Framed)
            .await
            .map_err(|error| format!("start exec failed for container {container}: {error}"))?;
        match status {
            200 => Ok(output),
            404 => Err(format!("start exec failed for container {container}: invalid exec id {id}")),
            409 => Err(format!("start exec failed since container {container} is paused or stopped")),
            _ => {
                let body = output.into_text();
                Err(format!(
                    "start exec failed for container {container} with status {status}: body: {body} err: <nil>"
                ))
            }
        }
    }

    /// One request to the engine, over a connection of its own.
    async fn call(
        &self,
        method: &str,
        path: &str,
        body: String,
        limit: usize,
        form: Plain,
    ) -> Result<(u16, Tail), String> {
        let (stream, host, base) = self.open().await?;
        let peer = stream.peer();
        let mut request = Request::builder().method(method).uri(format!("{base}{path}")).header(HOST, host);
        request = request.header(CONNECTION, "close");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        ask(stream, request, async |response| {
            let response = response.map_err(|error| failure(&error, peer))?;
            let status = response.status().as_u16();
            let mut tail = Tail::new(limit);
            let body = response.into_body();
            // The engine may hang up hard after the last byte; what came is what there was.
            if form == Plain::Framed && status == 200 {
                let _ = read_framed(body, &mut tail).await;
            } else {
                let _ = read_body(body, &mut tail).await;
            }
            Ok((status, tail))
        })
        .await
    }

    /// Connects to the engine: the connection, the `Host` to name and what stands before every path.
    async fn open(&self) -> Result<(Stream, String, String), String> {
        let host = &self.settings.docker_host;
        match host.split_once("://") {
            Some(("unix", path)) => {
                let stream = UnixStream::connect(path)
                    .await
                    .map_err(|error| format!("dial unix {path}: {}", call_error("connect", &error)))?;
                Ok((Stream::local(stream), "docker".to_owned(), String::new()))
            }
            Some(("tcp" | "http", rest)) => {
                let (address, base) = rest.split_once('/').unwrap_or((rest, ""));
                let stream = net::connect(address).await.map_err(|error| error.to_string())?;
                let base = base.trim_end_matches('/');
                let base = if base.is_empty() { String::new() } else { format!("/{base}") };
                Ok((Stream::plain(stream), address.to_owned(), base))
            }
            _ => Err(format!("unable to parse docker host `{host}`")),
        }
    }
}

/// What an answer's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    /// Itself.
    Text,
    /// Pieces of two streams, each with a head of eight bytes: stream, three zeros, length. Without a terminal the
    /// engine sends this, whatever it calls it.
    Framed,
}

async fn read_framed(mut body: Incoming, tail: &mut Tail) -> Result<(), hyper::Error> {
    let mut frames = Frames::default();
    while let Some(frame) =
        std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await
    {
        if let Some(data) = frame?.data_ref() {
            frames.read(data, tail);
        }
    }
    frames.end(tail);
    Ok(())
}

/// Takes the heads out of a framed stream. One that does not begin with a head is taken as it is.
#[derive(Debug, Default)]
struct Frames {
    head: Vec<u8>,
    /// Bytes of the present piece still to come.
    left: u64,
    raw: bool,
}

impl Frames {
    fn read(&mut self, mut data: &[u8], tail: &mut Tail) {
        while !data.is_empty() {
            if self.raw {
                tail.write(data);
                return;
            }
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                tail.write(&data[..count]);
                self.left -= count as u64;
                data.advance(count);
                continue;
            }
            self.head.push(data[0]);
            data.advance(1);
            let place = self.head.len() - 1;
            let fits = match place {
                0 => self.head[0] <= 2,
                1..=3 => self.head[place] == 0,
                _ => true,
            };
            if !fits {
                self.raw = true;
                tail.write(&std::mem::take(&mut self.head));
            } else if let Some(length) = self.head.get(4..8).and_then(|bytes| bytes.try_into().ok()) {
                self.left = u32::from_be_bytes(length).into();
                self.head.clear();
            }
        }
    }

    /// What was held back as half a head was none.
    fn end(self, tail: &mut Tail) {
        tail.write(&self.head);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unframed(pieces: &[&[u8]]) -> String {
        let mut tail = Tail::new(1000);
        let mut frames = Frames::default();
        for piece in pieces {
            frames.read(piece, &mut tail);
        }
        frames.end(&mut tail);
        tail.into_text()
    }

    #[test]
    fn heads_are_taken_out() {
        assert_eq!(unframed(&[b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01c"]), "abc");
        assert_eq!(unframed(&[b"plain text"]), "plain text");
        assert_eq!(unframed(&[b"\x01\0x"]), "\u{1}\0x");
        assert_eq!(unframed(&[b"\x01\0"]), "\u{1}\0");
    }

    proptest! {
        #[test]
        fn however_it_is_cut(texts in prop::collection::vec("[a-z]{0,20}", 1..5), at in 0_usize..60) {
            let mut stream = Vec::new();
            for text in &texts {
                stream.extend([1, 0, 0, 0]);
                stream.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                stream.extend(text.as_bytes());
            }
            let (first, second) = stream.split_at(at.min(stream.len()));
            prop_assert_eq!(unframed(&[first, second]), texts.concat());
        }
    }
}
