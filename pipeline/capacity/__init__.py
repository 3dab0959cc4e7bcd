"""What a given load needs: workers, machines, servers, storage and money.

    service times (measured)  \\
    demand (arrivals by hour)  >  queueing (how many servers)  >  plan (machines, nodes, money)
    figures (limits, prices)  /            |
                                   simulation (whether the formulas hold)

Nothing here asks a server anything; ``cli.capacity`` reads the files and prints the plan.
"""
