"""What Unstick costs, against what people would use instead, on the same work, machine and day.

    contenders.py  who is measured, and how each is started     plain/       functions to compare with
    stage.py       Rundeck's and RabbitMQ's stand-ins, alerts   wire.py      requests on raw sockets, with times
    rounds.py      what is measured, in interleaved rounds      tree.py      a server's processes: CPU time, memory
    legs.py        calls in sequence, on slow lines             delay.py     such a line
    samples.py     medians, quartiles, ratios                   imports.py   what a start imports
    claims.py      what it may cost                             page.py      docs/benchmarks-details.md and its chart
    restart_time.py  from stuck to recovered, real servers      promises.py  docs/benchmarks.md and its chart
    forged.py      a function that refuses, in one process      instructions.py  its instructions, instead of time
    soak.py        the long run                                 town.py      its load and its faults

`python -m bench` measures and writes both pages; `--only restart-time` writes docs/benchmarks.md alone. `python -m bench.instructions` writes
one part of the details, and `python -m bench.soak`, the long run, another.
"""
