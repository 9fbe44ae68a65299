"""`make fuzz`: what reads a stranger's bytes, or another system's answers, under a fuzzer that looks for new paths."""
