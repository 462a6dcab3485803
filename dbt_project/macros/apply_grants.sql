{# Grants only to roles that the server has: a database that one user works in alone has none to read the marts. #}
{% macro postgres__apply_grants(relation, grant_config, should_revoke=true) %}
    {% if not grant_config %}
        {{ return(none) }}
    {% endif %}
    {% set roles = run_query("select rolname from pg_roles").columns[0].values() %}
    {% set grants = {} %}
    {% for privilege, grantees in grant_config.items() %}
        {% do grants.update({privilege: grantees | select("in", roles) | list}) %}
    {% endfor %}
    {{ return(default__apply_grants(relation, grants, should_revoke)) }}
{% endmacro %}
