//! The cases of cases.toml for clients in Rust.

use std::cell::RefCell;
use std::env;
use std::error::Error;
use std::future::Future;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;

pub const TWICE: &str = "select twice from number where n = $1";
pub const INSERT: &str = "insert into witness (client, step, n) values ($1, $2, $3)";
pub const PID: &str = "select pg_backend_pid()";
pub const PREPARED: &str = "select count(*) from pg_prepared_statements";

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The name that the client's rows have.
pub fn name() -> String {
    env::var("CLIENT").expect("CLIENT")
}

/// Leads to the pool.
pub fn url() -> String {
    env::var("DATABASE_URL").expect("DATABASE_URL")
}

/// What works in a transaction and outside one.
#[allow(async_fn_in_trait)]
pub trait Session {
    async fn twice(&mut self, n: i32) -> Result<i32>;
    async fn insert(&mut self, step: &str, n: i32) -> Result<()>;
    async fn pid(&mut self) -> Result<i32>;
    /// How many prepared statements PostgreSQL has of this server connection.
    async fn prepared(&mut self) -> Result<i64>;
}

/// An instance with what it does by default, for many tasks.
#[allow(async_fn_in_trait)]
pub trait Client {
    async fn twice(&self, n: i32) -> Result<i32>;
    async fn insert(&self, step: &str, n: i32) -> Result<()>;
    /// An error of the work rolls back.
    async fn transaction(&self, work: &Work) -> Result<i64>;
    async fn close(self);
}

/// What is done in one transaction.
pub enum Work {
    TwoRows(i32),
    Failing(i32),
    Interactive(i32),
    Prepared(i32),
    Row(i32),
}

impl Work {
    /// Do it; the number is that of prepared statements.
    pub async fn run(&self, session: &mut impl Session) -> Result<i64> {
        match *self {
            Work::TwoRows(worker) => {
                session.insert("transaction", worker).await?;
                session.insert("transaction", worker).await?;
            }
            Work::Failing(worker) => {
                session.insert("rollback", worker).await?;
                return Err("on purpose".into());
            }
            Work::Interactive(worker) => {
                let pid = session.pid().await?;
                let value = session.twice(worker + 1).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                session.insert("interactive", value).await?;
                same(session.pid().await?, pid)?;
            }
            Work::Prepared(n) => {
                same(session.twice(n).await?, 2 * n)?;
                return session.prepared().await;
            }
            Work::Row(worker) => session.insert("roll", worker).await?,
        }
        Ok(0)
    }
}

/// Run the cases that the arguments name, and print a line for each.
pub async fn run<C: Client, F: Future<Output = Result<C>>>(open: impl Fn() -> F) {
    let mut shared = None;
    for step in env::args().skip(1) {
        let said = match step.as_str() {
            "instances" => instances(&open).await.map(|()| String::new()),
            "cold" => cold(&open).await.map(|()| String::new()),
            "roll" => roll(&open).await,
            _ => {
                if shared.is_none() {
                    shared = Some(open().await.expect("Error: no client"));
                }
                case(&step, shared.as_ref().expect("a client")).await.map(|()| String::new())
            }
        };
        match said {
            Ok(more) => println!("{{\"case\": \"{step}\", \"ok\": true{more}}}"),
            Err(error) => println!("{{\"case\": \"{step}\", \"ok\": false, \"error\": {}}}", words(&*error)),
        }
    }
    if let Some(client) = shared {
        client.close().await;
    }
}

async fn case(step: &str, client: &impl Client) -> Result<()> {
    match step {
        "defaults" => workers(8, |worker| asks(client, worker * 25 + 1, 25)).await?,
        "prepared" => {
            let counts = try_join_all((0..8).map(|worker| prepared(client, worker))).await?;
            if counts.iter().all(|&each| each == 0) {
                return Err("PostgreSQL has no prepared statement".into());
            }
        }
        "transaction" => workers(8, |worker| does(client, Work::TwoRows(worker))).await?,
        "rollback" => workers(8, |worker| rollback(client, worker)).await?,
        "interactive" => workers(4, |worker| does(client, Work::Interactive(worker))).await?,
        _ => return Err(format!("no case {step}").into()),
    }
    Ok(())
}

async fn workers<F: Future<Output = Result<()>>>(count: i32, work: impl Fn(i32) -> F) -> Result<()> {
    try_join_all((0..count).map(work)).await.map(|_| ())
}

async fn asks(client: &impl Client, first: i32, count: i32) -> Result<()> {
    for n in first..first + count {
        same(client.twice(n).await?, 2 * n)?;
    }
    Ok(())
}

async fn does(client: &impl Client, work: Work) -> Result<()> {
    client.transaction(&work).await.map(|_| ())
}

async fn prepared(client: &impl Client, worker: i32) -> Result<i64> {
    let mut most = 0;
    for n in worker + 1..worker + 11 {
        most = most.max(client.transaction(&Work::Prepared(n)).await?);
    }
    Ok(most)
}

async fn rollback(client: &impl Client, worker: i32) -> Result<()> {
    match client.transaction(&Work::Failing(worker)).await {
        Err(error) if error.to_string() == "on purpose" => asks(client, worker + 1, 1).await,
        Err(error) => Err(error),
        Ok(_) => Err("no error left the transaction".into()),
    }
}

async fn instances<C: Client, F: Future<Output = Result<C>>>(open: impl Fn() -> F) -> Result<()> {
    let open = &open;
    workers(10, |_| async move {
        for round in 0..10 {
            let client = open().await?;
            client.insert("instances", round).await?;
            client.close().await;
        }
        Ok(())
    })
    .await
}

async fn cold<C: Client, F: Future<Output = Result<C>>>(open: impl Fn() -> F) -> Result<()> {
    open().await?.insert("cold", 1).await
}

async fn roll<C: Client, F: Future<Output = Result<C>>>(open: impl Fn() -> F) -> Result<String> {
    let ended = Arc::new(AtomicBool::new(false));
    let sets = ended.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        sets.store(true, Ordering::Relaxed);
    });
    let client = open().await?;
    let figures = RefCell::new((0, 0, String::from("\"\"")));
    workers(4, |worker| {
        let (client, figures, ended) = (&client, &figures, &ended);
        async move {
            while !ended.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(40)).await;
                let outcome = client.transaction(&Work::Row(worker)).await;
                let mut found = figures.borrow_mut();
                match outcome {
                    Ok(_) => found.0 += 1,
                    Err(error) => {
                        found.1 += 1;
                        found.2 = words(&*error);
                    }
                }
            }
            Ok(())
        }
    })
    .await?;
    client.close().await;
    let (done, failed, error) = figures.into_inner();
    Ok(format!(", \"done\": {done}, \"failed\": {failed}, \"error\": {error}"))
}

fn same(found: i32, wanted: i32) -> Result<()> {
    if found == wanted { Ok(()) } else { Err(format!("{found} instead of {wanted}").into()) }
}

/// The innermost source, as a string of JSON.
fn words(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    format!("\"{}\"", text.lines().next().unwrap_or("").replace('\\', "\\\\").replace('"', "\\\""))
}
