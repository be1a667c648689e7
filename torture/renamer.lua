-- The other script in the sandbox: it swaps with what it has, os.rename, until it is ended.
while true do
  os.rename("data/e", "data/t")
  os.rename("data/e2", "data/e")
  os.rename("data/e", "data/e2")
  os.rename("data/t", "data/e")
end
