"""Load: worker processes that send, receive and record.

Each worker is a process of its own (`chaos.load.worker`), so that a client library's lock, crash or
garbage collection is felt by one client only, as with a real application. The engine talks to it
through pipes, one JSON object a line (`chaos.load.workers`):

    to the worker      {"work": 0}           workers.json says where the cluster is: connect
                       {"go": ns}            producers: the first message is due then
                       {"poison": {...}}     producers: from now on, see chaos.load.poison
                       {"slow_s": s}         consumers: take so much longer for each message
                       {"stop": ns}          producers: send what is due until then, then finish;
                                             consumers, reader: finish now
                       end of stream         finish now: the engine is gone
    from the worker    {"ready": true}       connected
                       {"stats": {...}}      every 250 ms, see each worker
                       {"error": text}       it cannot go on
                       {"done": {...}}       finished in order; the last stats
"""
