---@meta
--- Corrections of the checker's own library, which the files of this project need.

--- Errors of this project are objects; the checker's library takes every error for a string.
---@param f function
---@param ... any
---@return boolean ok
---@return any ...
function pcall(f, ...) end

---@class file
local file = {}
--- The checker's library wants both arguments.
---@param whence? "set"|"cur"|"end"
---@param offset? integer
---@return integer
function file:seek(whence, offset) end
