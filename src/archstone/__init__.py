"""Building blocks of distributed systems as typed async Python, and whole systems built on them.

Each package is a block that works alone; start with its docstring: `archstone.data`, `archstone.cache`,
`archstone.messaging`, `archstone.sagas`, `archstone.services`, `archstone.gateway`, `archstone.resilience`,
`archstone.observability`, `archstone.security`, `archstone.runtime`, `archstone.simulation`. What blocks share is here:
`archstone.world`, `archstone.context`, `archstone.errors`, `archstone.disk`, `archstone.plugins`.
"""
