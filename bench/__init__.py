"""What Unstick costs, against what people would use instead, on the same work, machine and day.

    contenders.py  who is measured and how each is started        plain/       functions to compare with
    stage.py       Rundeck's and RabbitMQ's stand-ins, alerts     wire.py      requests on raw sockets, with times
    tree.py        a server's processes: CPU time and memory      delay.py     a line that takes 50 ms
    rounds.py      what is measured, in interleaved rounds        page.py      docs/benchmarks.md and its chart
    soak.py        hours of simulated and minutes of real load

`python -m bench` measures and writes docs/benchmarks.md; `python -m bench.soak` is the long run.
"""
