"""What people and programs are told about deliveries and destinations, derived from ledger and config."""
