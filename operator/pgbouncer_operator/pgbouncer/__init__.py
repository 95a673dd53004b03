"""What PgBouncer is: its settings, its files, its console and its figures. Nothing of Kubernetes is known here."""
