"""What differs between the declared state and the hosts: values in, a report out, no I/O."""
