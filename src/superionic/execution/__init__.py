"""The ground: tasks, their store and ledger, executors and engine environments."""
