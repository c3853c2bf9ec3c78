-- Passes that the ledger has entries of and the positions do not know.
select flow, stream, partition, pass from batches
except
select flow, stream, partition, pass from positions
