"""Arithmetic on server connections. Pure.

One number has one name at each step between the user and PgBouncer:

- `serverConnections.max`: what the user wrote: the most that a pool may ever hold.
- `wanted`: what the pool's sizing mode asks for now. It is `status.serverConnections.size`.
- `allocation`: what a PostgresServer gives the pool now. A pool that names a host itself has none.
- `size`: what the pool may hold now: the lower one of `wanted` and `allocation`. The ledger divides it.
- `grant`: what one pod may hold, `Grant.cap` in the ledger. No pod gets more while the charges would exceed `size`.
- `share`: what one database may hold in one pod.

`budget` is the sum that one PostgreSQL server may give to all its pools. `floor` is the least that a pod or a pool can
run with. `charge` is the most that a holder may still have open: it falls only when the holder has confirmed that.

The modules: `demand` finds the size that measurements ask for, `allocation` and `fairness` divide a server's budget
between pools, `relocation` moves them with a server whose host is edited, `fit` says how many pods a size allows,
`ledger` divides a size between pods, and `limits` compares a budget with what the PostgreSQL server takes.
"""
