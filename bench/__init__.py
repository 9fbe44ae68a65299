"""What Unstick costs, against what people would use instead, on the same work, machine and day.

    contenders.py  who is measured, and how each is started     plain/       functions to compare with
    stage.py       Rundeck's and RabbitMQ's stand-ins, alerts   wire.py      requests on raw sockets, with times
    rounds.py      what is measured, in interleaved rounds      tree.py      a server's processes: CPU time, memory
    legs.py        calls in sequence, on slow lines             delay.py     such a line
    samples.py     medians, quartiles, ratios
    claims.py      what it may cost                             page.py      the second half of the page, its chart
    restart_time.py  from stuck to recovered, real servers      promises.py  the first half, its chart
    applications.py  seventy on a real broker, healthy and stuck
    look.py        what a check costs RabbitMQ
    soak.py        the long run                                 town.py      its load and its faults

`python -m bench` writes docs/benchmarks.md; `--only PART` one part alone. `python -m bench.soak`
writes the part on the long run, `python -m bench.look` the one on RabbitMQ.
"""
