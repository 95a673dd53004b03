"""What runs beside PgBouncer in every pod: mounts → candidate → prove → install → verify; drain; /state; metrics."""
