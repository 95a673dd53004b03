//! SQLx with its own pool.

use protocol::{INSERT, PID, PREPARED, Result, Session, TWICE, Work, name, run, url};
use sqlx::postgres::{PgExecutor, PgPool, PgPoolOptions, Postgres};
use sqlx::{Transaction, query, query_scalar};

struct Statements(Transaction<'static, Postgres>);

impl Session for Statements {
    async fn twice(&mut self, n: i32) -> Result<i32> {
        twice(&mut *self.0, n).await
    }

    async fn insert(&mut self, step: &str, n: i32) -> Result<()> {
        insert(&mut *self.0, step, n).await
    }

    async fn pid(&mut self) -> Result<i32> {
        Ok(query_scalar(PID).fetch_one(&mut *self.0).await?)
    }

    async fn prepared(&mut self) -> Result<i64> {
        Ok(query_scalar(PREPARED).fetch_one(&mut *self.0).await?)
    }
}

struct Client(PgPool);

impl protocol::Client for Client {
    async fn twice(&self, n: i32) -> Result<i32> {
        twice(&self.0, n).await
    }

    async fn insert(&self, step: &str, n: i32) -> Result<()> {
        insert(&self.0, step, n).await
    }

    async fn transaction(&self, work: &Work) -> Result<i64> {
        let mut session = Statements(self.0.begin().await?);
        let found = work.run(&mut session).await?; // a transaction that is dropped is rolled back
        session.0.commit().await?;
        Ok(found)
    }

    async fn close(self) {
        self.0.close().await;
    }
}

async fn twice(on: impl PgExecutor<'_>, n: i32) -> Result<i32> {
    Ok(query_scalar(TWICE).bind(n).fetch_one(on).await?)
}

async fn insert(on: impl PgExecutor<'_>, step: &str, n: i32) -> Result<()> {
    query(INSERT).bind(name()).bind(step).bind(n).execute(on).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run(|| async { Ok(Client(PgPoolOptions::new().connect(&url()).await?)) }).await;
}
