"""Everything on one host: the portal, then the CRM, whose public checks go through nginx.

pyinfra inventories/prod deploys/site.py
"""

from pyinfra import local

local.include("./portal.py")
local.include("./crm.py")
