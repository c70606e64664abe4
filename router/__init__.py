"""lead-router: takes leads, decides which buyers may have each, delivers, and can prove afterwards why.

The line, in the order data takes it::

    bytes --intake--> Lead --decide--> Decision --(Decided, Reserved)--> ledger, durable
          --render--> HttpRequest --transport--> HttpResponse | TransportFailure
          --classify--> Verdict --next_step--> Settle | Repeat | next in rank --(Attempted, Settled, Ended)--> ledger

`core.state.State.apply(entry)` is the only thing that changes routing state: live, at restart and in a backtest.
ARCHITECTURE.md walks through the rooms.
"""
