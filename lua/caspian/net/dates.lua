--- Dates of the Gregorian calendar in UTC, and seconds since 1970. Pure; numbers in, numbers out, nil for a date that there is not.
local floor, next, setfenv = math.floor, next, setfenv
local lower = string.lower
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local M = {
  MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" },
  --- The number of a month by its name in lower case.
  MONTH = {},
}
for at, name in next, M.MONTHS do M.MONTH[lower(name)] = at end

local CUMULATIVE = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 }
local LENGTHS = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

--- Seconds since 1970 of a date and a time; a minute may have a second 60.
function M.seconds(year, month, day, hour, minute, second)
  if month < 1 or month > 12 or day < 1 or day > LENGTHS[month] or hour > 23 or minute > 59 or second > 60 then return nil end
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  if month == 2 and day == 29 and not leap then return nil end
  local before = year - 1
  local days = before * 365 + floor(before / 4) - floor(before / 100) + floor(before / 400) - 719162
  days = days + CUMULATIVE[month] + day - 1 + (leap and month > 2 and 1 or 0)
  return days * 86400 + hour * 3600 + minute * 60 + second
end

--- Year, month, day, hour, minute and second of seconds since 1970; what is below a second is left out.
function M.parts(seconds)
  seconds = floor(seconds)
  local days = floor(seconds / 86400)
  local left = seconds - days * 86400
  -- Howard Hinnant's civil_from_days: years begin in March, eras have 400 of them.
  local z = days + 719468
  local era = floor(z / 146097)
  local of_era = z - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local shifted = floor((5 * of_year + 2) / 153)
  local day = of_year - floor((153 * shifted + 2) / 5) + 1
  local month = shifted < 10 and shifted + 3 or shifted - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, day, floor(left / 3600), floor(left / 60) % 60, left % 60
end

return M
