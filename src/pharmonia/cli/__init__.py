"""Commands: parse, call one library function, print."""
