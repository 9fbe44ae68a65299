"""What Unstick costs and how long it takes, measured: `make bench` writes docs/benchmarks.md; ARGS='--only PART' writes one part.

restart_time.py  from stuck to recovered, on real servers     promises.py  the part about it
beside.py        Unstick beside others, with stand-ins        server.py    the programs; bare.py is one
look.py          what a check costs RabbitMQ                  page.py      the page and its parts
"""
