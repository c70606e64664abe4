"""The ledger: what happened, durable before anybody is told of it.

`protocol` says what a ledger does; `sqlite` is the durable one and `memory` the one for simulation; `chain`, `anchor`
and `verify` make history provable; `lock` keeps a second daemon out.
"""
