--- The servers that spec/support/servers started: ports, paths and certificates (see `tell` there).
return dofile(os.getenv("CASPIAN_SERVERS"))
