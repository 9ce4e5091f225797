//! A small HTTP service that is slow, and sometimes overloaded.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The service; it ends with the program.
pub struct Prices {
    port: u16,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    keys: BTreeSet<String>,
    asked: usize,
    refused: usize,
}

impl Prices {
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let log = Arc::<Mutex<Log>>::default();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Ok(Self { port, log })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Requests, and how many of them it refused.
    pub fn counts(&self) -> (usize, usize) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        (log.asked, log.refused)
    }
}

async fn serve(stream: TcpStream, log: Arc<Mutex<Log>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut key = String::new();
        let mut line = String::new();
        // The headers end with an empty line.
        while stream.read_line(&mut line).await? > 2 {
            if let Some(value) = line.strip_prefix("idempotency-key:") {
                key = value.trim().to_owned();
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let is_refused = note(&mut log.lock().unwrap_or_else(PoisonError::into_inner), key);
        let (status, body) =
            if is_refused { ("503 Service Unavailable", "") } else { ("200 OK", "199\n") };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all(format!("{head}{body}").as_bytes()).await?;
    }
}

/// One of ten that it has not seen before is refused.
fn note(log: &mut Log, key: String) -> bool {
    log.asked += 1;
    let is_refused = log.keys.insert(key) && log.keys.len().is_multiple_of(10);
    log.refused += usize::from(is_refused);
    is_refused
}
