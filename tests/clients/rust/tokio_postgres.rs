//! tokio-postgres with deadpool's pool.

use deadpool_postgres::{GenericClient, Manager, Pool, Runtime, Transaction};
use protocol::{INSERT, PID, PREPARED, Result, Session, TWICE, Work, name, run, url};
use tokio_postgres::NoTls;

struct Statements<'a>(Transaction<'a>);

impl Session for Statements<'_> {
    async fn twice(&mut self, n: i32) -> Result<i32> {
        twice(&self.0, n).await
    }

    async fn insert(&mut self, step: &str, n: i32) -> Result<()> {
        insert(&self.0, step, n).await
    }

    async fn pid(&mut self) -> Result<i32> {
        Ok(self.0.query_one(PID, &[]).await?.get(0))
    }

    async fn prepared(&mut self) -> Result<i64> {
        Ok(self.0.query_one(PREPARED, &[]).await?.get(0))
    }
}

struct Client(Pool);

impl protocol::Client for Client {
    async fn twice(&self, n: i32) -> Result<i32> {
        twice(&self.0.get().await?, n).await
    }

    async fn insert(&self, step: &str, n: i32) -> Result<()> {
        insert(&self.0.get().await?, step, n).await
    }

    async fn transaction(&self, work: &Work) -> Result<i64> {
        let mut connection = self.0.get().await?;
        let mut session = Statements(connection.transaction().await?);
        let found = work.run(&mut session).await?; // a transaction that is dropped is rolled back
        session.0.commit().await?;
        Ok(found)
    }

    async fn close(self) {
        self.0.close();
    }
}

async fn twice(on: &impl GenericClient, n: i32) -> Result<i32> {
    let statement = on.prepare_cached(TWICE).await?;
    Ok(on.query_one(&statement, &[&n]).await?.get(0))
}

async fn insert(on: &impl GenericClient, step: &str, n: i32) -> Result<()> {
    let statement = on.prepare_cached(INSERT).await?;
    on.execute(&statement, &[&name(), &step, &n]).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run(|| async {
        let manager = Manager::new(url().parse()?, NoTls);
        Ok(Client(Pool::builder(manager).runtime(Runtime::Tokio1).build()?))
    })
    .await;
}
