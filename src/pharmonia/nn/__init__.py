"""Networks: the same functions as their plain formulations, computed once per unique thing."""
